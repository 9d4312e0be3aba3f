"""What the person is looking at: all that the URL holds.

Widgets are bound to query parameters of the same names (`bind="query-params"`), so a link shows the
view it was copied from. A value that no longer exists is passed over, never an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from diger.names import CHALLENGERS

METRICS = ("ndcg@10", "recall@10", "ndcg@5", "recall@5", "ndcg@20", "recall@20", "mrr@10")


@dataclass(frozen=True)
class View:
    """Filters and choices; every field is the query parameter of its name.

    Attributes:
        data: datasets shown; none means all.
        arms: arms shown; none means one a method, or all with `variants`.
        variants: also what is beside each method's main arm.
        metric: on the test split.
        challenger: the method compared with static.
        dataset: the one that single-dataset pages show.
        level, epoch, seed: of the heat map and the flows; None means the default.
        a, b: names of the two bundles compared.
    """

    data: tuple[str, ...] = ()
    arms: tuple[str, ...] = ()
    variants: bool = False
    metric: str = METRICS[0]
    challenger: str = CHALLENGERS[0]
    dataset: str = ""
    level: int = 1
    epoch: int | None = None
    seed: int | None = None
    a: str = ""
    b: str = ""

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> View:
        """The view that a mapping such as Streamlit's session state or a query describes."""
        plain = cls()
        return replace(
            plain,
            data=_texts(state.get("data")),
            arms=_texts(state.get("arms")),
            variants=str(state.get("variants") or "").lower() == "true",
            metric=_one_of(state.get("metric"), METRICS),
            challenger=_one_of(state.get("challenger"), CHALLENGERS),
            dataset=str(state.get("dataset") or ""),
            level=_whole(state.get("level")) or 1,
            epoch=_whole(state.get("epoch")),
            seed=_whole(state.get("seed")),
            a=str(state.get("a") or ""),
            b=str(state.get("b") or ""),
        )

    def but(self, **changes: Any) -> View:
        """The same with changes; of a watched view every field then counts as read."""
        return View(**({name: getattr(self, name) for name in _FIELDS} | changes))


class WatchedView(View):
    """A view that notes, in `read`, which of its fields somebody read."""

    read: set[str]

    def __init__(self, view: View) -> None:
        super().__init__(**vars(view))
        object.__setattr__(self, "read", set())

    def __getattribute__(self, name: str) -> Any:
        if name in _FIELDS:
            object.__getattribute__(self, "read").add(name)
        return object.__getattribute__(self, name)


_FIELDS = frozenset(field.name for field in fields(View))


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,) if value else ()
    return tuple(str(v) for v in value) if isinstance(value, Sequence) else ()


def _one_of(value: Any, choices: Sequence[str]) -> str:
    return value if value in choices else choices[0]


def _whole(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
