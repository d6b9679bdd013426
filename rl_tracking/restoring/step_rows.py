"""What one step of several worlds returned, as a value, and where two such steps differ."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_ROUNDINGS = 1000  # rounding errors that may accumulate in a step


@dataclasses.dataclass(frozen=True)
class StepRows:
    """One step of B worlds as a ``VecEnv`` returns it.

    Attributes:
        reached: observations of the states reached, terminal ones included: an array or a dict of them, ``[B, ...]``.
        following: observations of the next states, the first of the next episode where one ended; ``[B, ...]``.
        reward: ``[B]``.
        done: the episode was terminated or truncated here; ``[B]`` bool.
        truncated: it was truncated and not terminated; ``[B]`` bool.
    """

    reached: Any
    following: Any
    reward: Array
    done: Array
    truncated: Array

    @classmethod
    def of(cls, result: tuple[Any, Any, Any, list[dict[str, Any]]]) -> StepRows:
        """A copy of what ``VecEnv.step`` returned, because an env may write to its arrays in the next step."""
        following, reward, done, infos = result
        following, done = copied(following), np.array(done, dtype=bool)
        if not _any(done):
            return cls(following, following, np.array(reward), done, done)
        truncated = done & np.array([bool(info.get("TimeLimit.truncated", False)) for info in infos])
        return cls(_reached(following, done, infos), following, np.array(reward), done, truncated)

    @property
    def terminated(self) -> Array:
        """The episode was terminated; ``[B]`` bool."""
        terminated: Array = self.done & ~self.truncated
        return terminated

    def rows(self, chosen: slice) -> StepRows:
        """Some rows, in the same memory."""
        reached = _rows(self.reached, chosen)
        following = reached if self.following is self.reached else _rows(self.following, chosen)
        return StepRows(reached, following, self.reward[chosen], self.done[chosen], self.truncated[chosen])

    def copy(self) -> StepRows:
        """The same in memory of its own."""
        following = copied(self.following)
        reached = following if self.reached is self.following else copied(self.reached)
        return StepRows(reached, following, self.reward.copy(), self.done.copy(), self.truncated.copy())

    def matches(self, result: tuple[Any, Any, Any, list[dict[str, Any]]]) -> bool:
        """Whether ``VecEnv.step`` returned the first of these rows and no episode ended in them; False if in doubt."""
        following, reward, done, _ = result
        worlds = len(done)
        if _any(done) or _any(self.done[:worlds]) or isinstance(following, dict | tuple):
            return False
        return _same(following, self.following[:worlds]) and _same(reward, self.reward[:worlds])


@dataclasses.dataclass(frozen=True)
class Difference:
    """Where two steps first differ: the world, the part of the step, and both values."""

    world: int
    field: str
    values: tuple[str, str]


def first_difference(
    executed: StepRows, branch: StepRows, *, next_episode: bool = True, exact: bool = True
) -> Difference | None:
    """The first thing that is not equal in two steps of the same worlds: ends, rewards, observations.

    Args:
        executed: one step.
        branch: the other step.
        next_episode: whether to compare the first observations of next episodes.
        exact: compare bit for bit; otherwise numbers may differ by some rounding errors.
    """
    parts = ["terminated", "truncated", "reward", "reached"]
    if next_episode and not (executed.reached is executed.following and branch.reached is branch.following):
        parts.append("following")
    for name in parts:
        for label, mine, theirs in _paired(_LABELS[name], getattr(executed, name), getattr(branch, name)):
            if _same(mine, theirs) or (not exact and _rounded(mine, theirs)):
                continue
            if mine.dtype != theirs.dtype or mine.shape != theirs.shape:
                forms = (f"{mine.dtype}{list(mine.shape)}", f"{theirs.dtype}{list(theirs.shape)}")
                return Difference(0, f"form of the {label}", forms)
            return _located(label, mine, theirs)
    return None


_LABELS = {
    "terminated": "termination",
    "truncated": "truncation",
    "reward": "reward",
    "reached": "observation",
    "following": "first observation of the next episode",
}


def _same(mine: Array, theirs: Array) -> bool:
    return mine.dtype == theirs.dtype and mine.shape == theirs.shape and mine.tobytes() == theirs.tobytes()


def _rounded(mine: Array, theirs: Array) -> bool:
    """Whether numbers differ by rounding alone, relative to the largest of them."""
    if mine.dtype != theirs.dtype or mine.shape != theirs.shape or mine.dtype.kind != "f":
        return False
    allowed = _ROUNDINGS * np.finfo(mine.dtype).eps * np.nan_to_num(np.abs(theirs)).max(initial=0.0)
    return np.allclose(mine, theirs, rtol=0.0, atol=allowed, equal_nan=True)


def _any(flags: Array) -> bool:
    """``flags.any()``, in a tenth of its time for a few flags."""
    return b"\x01" in flags.tobytes()


def copied(observation: Any) -> Any:
    """An array, or a dict of arrays, in memory of its own; a tuple of arrays becomes a dict by index."""
    if isinstance(observation, tuple):
        observation = dict(enumerate(observation))
    if isinstance(observation, dict):
        return {key: np.array(leaf) for key, leaf in observation.items()}
    return np.array(observation)


def _reached(following: Any, done: Array, infos: list[dict[str, Any]]) -> Any:
    """The following observations, with the terminal observation where an episode ended."""
    ended = np.flatnonzero(done)
    if not len(ended):
        return following
    reached = copy.deepcopy(following)
    for row in ended:
        terminal = infos[row]["terminal_observation"]
        if isinstance(reached, dict):
            for key in reached:
                reached[key][row] = terminal[key]
        else:
            reached[row] = terminal
    return reached


def _rows(observation: Any, chosen: slice) -> Any:
    if isinstance(observation, dict):
        return {key: leaf[chosen] for key, leaf in observation.items()}
    return observation[chosen]


def _paired(label: str, mine: Any, theirs: Any) -> list[tuple[str, Array, Array]]:
    if isinstance(mine, dict):
        return [(f"{label} '{key}'", mine[key], theirs[key]) for key in mine]
    return [(label, mine, theirs)]


def _located(label: str, mine: Array, theirs: Array) -> Difference:
    """The first element whose bits differ."""
    flat_mine, flat_theirs = (np.ascontiguousarray(array).reshape(-1) for array in (mine, theirs))
    size = mine.dtype.itemsize
    bits = (array.view(np.uint8).reshape(-1, size) for array in (flat_mine, flat_theirs))
    at = int(np.flatnonzero(np.not_equal(*bits).any(axis=1))[0])
    world, *index = (int(i) for i in np.unravel_index(at, mine.shape))
    where = f" at index {index[0] if len(index) == 1 else tuple(index)}" if index else ""
    return Difference(world, label + where, (str(flat_mine[at]), str(flat_theirs[at])))
