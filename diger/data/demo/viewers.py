"""The simulated viewers: what each of them watches, film by film.

All viewers advance together, one film a step. A step asks, in this order, whether the viewer meets
a late arrival, watches something again, picks at random, completes a double bill, goes on with a
franchise, is drawn to a destination of where they started, or turns to the canon of their
community; else taste decides (`diger.data.demo.tastes`). With `habits` and `tastes` these constants
are the whole plan. They were fixed before any model was trained on the result and are not to be
adjusted to one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from diger.data.demo.films import Film
from diger.data.demo.habits import N_COMMUNITIES, Habits, Stream, community_shares, stream
from diger.data.demo.tastes import FilmTraits

N_VIEWERS = 6_000
# History lengths are log-normal, cut off at both ends.
MEDIAN_LENGTH = 11
LENGTH_SPREAD = 0.5
SHORTEST, LONGEST = 5, 40

# Tastes: how many interests a viewer has, and how likely a viewer turns to a newly chosen one
# of them at a step; between turns it stays the same, so that films come in phases.
N_INTERESTS = 3
TURN = 0.12
# Concentration of the Dirichlet distribution of a viewer's evenings over the interests: below 1,
# so that most viewers have one or two main ones.
SHARING = 0.7

# The first film is from the viewer's community's canon this often; else taste picks it.
START_IN_CANON = 0.75
# Chance of each habit at a step, given that none before it in the list took the step and that it
# can be followed (there is such a film, not seen yet).
WATCH_AGAIN = 0.02
PICK_AT_RANDOM = 0.06
COMPLETE_DOUBLE_BILL = 0.4
GO_ON_WITH_FRANCHISE = 0.5
HEAD_FOR_DESTINATION = 0.2
TURN_TO_CANON = 0.25
# Destinations draw viewers from their sixth film on.
DESTINATION_FROM = 5
# Factor on a film's chance while the part before it has not been seen.
OUT_OF_ORDER = 0.15
# Chance of a late arrival at each of a viewer's last two films, which are held out of training.
LATE_ARRIVAL = 0.01


def simulate(
    catalogue: Sequence[Film], habits: Habits, seed: int, n_viewers: int = N_VIEWERS
) -> tuple[np.ndarray, np.ndarray]:
    """Draw every viewer's history.

    Returns:
        offsets (viewers + 1,) int64 and events (n,) int32: viewer u's item rows, oldest first, are
        `events[offsets[u]:offsets[u + 1]]`.
    """
    random = stream(seed, Stream.VIEWERS)
    crowd = _Crowd(catalogue, habits, n_viewers, random)
    length = np.exp(np.log(MEDIAN_LENGTH) + LENGTH_SPREAD * random.standard_normal(n_viewers))
    length = np.clip(np.rint(length), SHORTEST, LONGEST).astype(np.int64)
    history = np.full((n_viewers, LONGEST), -1, dtype=np.int32)
    for step in range(length.max()):
        active = np.flatnonzero(length > step)
        closing = step >= length[active] - 2
        history[active, step] = crowd.watch(active, step, closing, history)
    offsets = np.concatenate([[0], np.cumsum(length)])
    return offsets, history[history >= 0]


class _Crowd:
    """All viewers and where they stand."""

    def __init__(
        self,
        catalogue: Sequence[Film],
        habits: Habits,
        n_viewers: int,
        random: np.random.Generator,
    ):
        self.habits, self.random = habits, random
        self.traits = FilmTraits(catalogue)
        usual = np.flatnonzero(habits.fame > 0)
        loved = usual[random.integers(len(usual), size=n_viewers * N_INTERESTS)]
        self.interests = self.traits.draw(loved, random)
        # How viewers divide their evenings among their interests, and the interest of the moment:
        # (viewers, N_INTERESTS) and (viewers,).
        self.shares = random.dirichlet(np.full(N_INTERESTS, SHARING), size=n_viewers)
        self.phase = _draw(self.shares, random)
        self.community = _draw(np.tile(community_shares(), (n_viewers, 1)), random)
        self.seen = np.zeros((n_viewers, len(catalogue)), dtype=bool)
        # Never a late arrival, so that it has a community.
        self.first = np.full(n_viewers, -1)
        canons = habits.community == np.arange(N_COMMUNITIES)[:, None]
        self.canon_fame = canons * habits.fame  # (communities, items)
        self.is_destination = np.zeros_like(canons)
        np.put_along_axis(self.is_destination, habits.destinations, True, axis=1)

    def watch(
        self, viewers: np.ndarray, step: int, closing: np.ndarray, history: np.ndarray
    ) -> np.ndarray:
        """The next film of each of `viewers`; `closing` marks those at their last two films.

        Returns:
            (len(viewers),) item rows.
        """
        self._turn(viewers)
        chosen = np.full(len(viewers), -1)
        if step == 0:
            self._take(chosen, START_IN_CANON, self._canon, viewers)
        else:
            last = history[viewers, step - 1]
            self._take(chosen, LATE_ARRIVAL * closing, self._late, viewers)
            self._watch_again(chosen, viewers, step, history)
            self._take(chosen, PICK_AT_RANDOM, self._fame, viewers)
            self._follow(chosen, COMPLETE_DOUBLE_BILL, self.habits.partner[last], viewers)
            self._follow(chosen, GO_ON_WITH_FRANCHISE, self.habits.following[last], viewers)
            if step >= DESTINATION_FROM:
                self._take(chosen, HEAD_FOR_DESTINATION, self._destination, viewers)
            self._take(chosen, TURN_TO_CANON, self._canon, viewers)
        self._take(chosen, 1.0, self._taste, viewers)
        if step == 0:
            self.first[viewers] = chosen
        self.seen[viewers, chosen] = True
        return chosen

    def _turn(self, viewers: np.ndarray) -> None:
        turning = viewers[self.random.random(len(viewers)) < TURN]
        self.phase[turning] = _draw(self.shares[turning], self.random)

    # What attracts: each returns weights (viewers, items), 0 where a film is out of the question.

    def _unseen(self, viewers: np.ndarray) -> np.ndarray:
        """1 for unseen films, OUT_OF_ORDER if the part before is unseen as well, 0 for the rest."""
        later = np.flatnonzero(self.habits.preceding >= 0)
        weights = (~self.seen[viewers]).astype(np.float64)
        too_early = ~self.seen[np.ix_(viewers, self.habits.preceding[later])]
        weights[:, later] *= np.where(too_early, OUT_OF_ORDER, 1.0)
        return weights

    def _fame(self, viewers: np.ndarray) -> np.ndarray:
        return self._unseen(viewers) * self.habits.fame

    def _canon(self, viewers: np.ndarray) -> np.ndarray:
        return self._unseen(viewers) * self.canon_fame[self.community[viewers]]

    def _taste(self, viewers: np.ndarray) -> np.ndarray:
        rows = viewers * N_INTERESTS + self.phase[viewers]
        return self._fame(viewers) * np.exp(self.traits.fit(self.interests, rows))

    def _destination(self, viewers: np.ndarray) -> np.ndarray:
        start = self.habits.community[self.first[viewers]]
        return self.is_destination[start] & ~self.seen[viewers]

    def _late(self, viewers: np.ndarray) -> np.ndarray:
        weights = np.zeros((len(viewers), self.seen.shape[1]))
        weights[:, self.habits.late] = ~self.seen[np.ix_(viewers, self.habits.late)]
        return weights

    def _take(
        self,
        chosen: np.ndarray,
        chance: float | np.ndarray,
        weigh: Callable[[np.ndarray], np.ndarray],
        viewers: np.ndarray,
    ) -> None:
        """With `chance`, let those who have not chosen yet draw by `weigh`, if any film is left."""
        tempted = self.random.random(len(viewers)) < chance
        rows = np.flatnonzero(tempted & (chosen < 0))
        weights = weigh(viewers[rows])
        possible = weights.any(axis=1)
        chosen[rows[possible]] = _draw(weights[possible], self.random)

    def _follow(
        self, chosen: np.ndarray, chance: float, target: np.ndarray, viewers: np.ndarray
    ) -> None:
        """With `chance`, let those who have not chosen yet go to `target`, where unseen."""
        tempted = self.random.random(len(viewers)) < chance
        take = tempted & (chosen < 0) & (target >= 0)
        take &= ~self.seen[viewers, target]
        chosen[take] = target[take]

    def _watch_again(
        self, chosen: np.ndarray, viewers: np.ndarray, step: int, history: np.ndarray
    ) -> None:
        """Any of the earlier films but the last one, each equally likely."""
        tempted = self.random.random(len(viewers)) < WATCH_AGAIN
        rows = np.flatnonzero(tempted & (chosen < 0))
        if step < 2 or not len(rows):
            return
        earlier = self.random.integers(step - 1, size=len(rows))
        films = history[viewers[rows], earlier]
        other = films != history[viewers[rows], step - 1]
        chosen[rows[other]] = films[other]


def _draw(weights: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(rows,) int64: one column for each row of `weights`, in proportion to them."""
    heights = np.cumsum(weights, axis=1)
    aim = random.random(len(weights)) * heights[:, -1]
    return (heights <= aim[:, None]).sum(axis=1)
