"""The demo: films described for this project, and simulated viewers of them.

Nobody watched anything: every history is drawn by a documented, seeded plan (docs/demo-dataset.md).
It is there to try the tools on without fetching data, not to say how people choose films.
"""

from __future__ import annotations

import numpy as np

from diger.data.dataset import Dataset
from diger.data.demo.examples import stories
from diger.data.demo.films import film_slug, item_frame, read_films
from diger.data.demo.habits import draw_habits
from diger.data.demo.viewers import simulate
from diger.data.split import leave_one_out

__all__ = ["build", "film_slug", "stories"]


def build(seed: int = 2026) -> Dataset:
    """The demo as a dataset, split leave-one-out; the same for the same seed.

    Times are positions in the history. `seed` draws the hidden habits as well as the viewers, so
    that another seed is another world with the same films.

    Raises:
        DigerError: a film file is damaged.
    """
    catalogue = read_films()
    habits = draw_habits(catalogue, seed)
    offsets, events = simulate(catalogue, habits, seed)
    lengths = np.diff(offsets)
    split = leave_one_out(offsets)
    return Dataset.create(
        name="demo",
        title="Films and simulated viewers",
        split="leave-one-out",
        items=item_frame(catalogue),
        user_ids=[f"viewer-{number:04d}" for number in range(1, len(lengths) + 1)],
        offsets=offsets,
        events=events,
        times=np.arange(len(events)) - np.repeat(offsets[:-1], lengths),
        time_unit="position",
        **split._asdict(),
        simulated=True,
        text_may_be_published=True,
        licence="CC0-1.0",
        source=(
            "Simulated: the viewers and all they watch are drawn by diger.data.demo; "
            "the films are real, their descriptions written for this project."
        ),
        preparation={"seed": seed},
        examples=[dict(story) for story in stories()],
    )
