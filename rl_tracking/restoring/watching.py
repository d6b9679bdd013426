"""Checks during training that an environment is restored faithfully.

Checks before training see a limited number of steps. Here every executed step is compared bit for bit with the step
that branch 0 made from the same state with the same action. From time to time all branches take the same action and
must return the same. No step may advance a random generator that the whole process shares. Any difference stops the
run. Nothing here draws random numbers or changes the environment, so training gives the same weights without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

from rl_tracking.errors import RunError, StepError
from rl_tracking.restoring.global_generators import GlobalGenerators, Reading
from rl_tracking.restoring.protocol import ExactStates, NotRestorableError, name_of
from rl_tracking.restoring.step_rows import Array, StepRows, first_difference

_SHARE = 0.01  # share of the branches' steps and restores that may be spent on trying one action in all of them
_TRIAL = 4  # cost of one such trial: a restore and a step of all branches, and saving them twice
# Fields that only sum up what an environment returned, or hold the time of day.
_CONSEQUENCES = ("EpisodeMonitor.", "episode_start_time", "time_queue", "episode.t")
_SHOWN = 3  # at most this many differing fields are named
Returned = TypeVar("Returned")


class RestoringFailedError(StepError, RunError):
    """An environment was not restored faithfully during training; the text names what differed.

    Attributes:
        environment: its name.
        found: what differed.
    """

    def __init__(self, environment: str, found: str, *more: str, row: int | None = None) -> None:
        super().__init__(f"{environment} is not restored faithfully: {found}", row)
        self.environment, self.found = environment, found
        self.kept = list(more)


class Watch:
    """Runs the branches and the executed steps of one restorable ``VecEnv``, and compares them.

    Where the states are exact (see :class:`~rl_tracking.restoring.protocol.ExactStates`), steps must be equal bit for
    bit. Any other ``VecEnv`` may differ by rounding, since a matrix product over N times as many worlds rounds
    differently, and may begin an episode that no executed step continues in any state.

    Args:
        env: the restorable env itself, without wrappers around it.
        branches: N.
    """

    def __init__(self, env: Any, branches: int) -> None:
        self._env, self._n, self._worlds = env, branches, int(env.num_envs)
        self._generators = GlobalGenerators()
        self._sibling: Any = None
        self._roots: Any = None  # the states that branches start from, branch-major
        self._actions: list[Array] = []  # of all branches, step by step
        self._steps: list[StepRows] = []  # what they returned
        self._reading: Reading | None = None  # of the generators, before a branch step that is not yet executed
        self._executed = 0  # how many of the steps of branch 0 were executed
        self._after: Any = None  # the states of branch 0 after the last step, where they are compared
        self._cost = self._spent = 0  # steps and restores of branches: made, and spent on trying one action

    # -- branches ---------------------------------------------------------------------------------------------------

    def one_step(self, sibling: Any, fork: Callable[[], Any], actions: Array) -> StepRows:
        """:meth:`start` and one :meth:`step_branches`; the algorithm draws nothing before :meth:`execute`."""
        reading = self._generators.read()
        self._start(sibling, fork)
        rows = self._step_branches(actions)
        self._end()
        self._reading = reading
        return rows

    def start(self, sibling: Any, fork: Callable[[], Any]) -> None:
        """Restore the states that ``fork`` returns, ``[N E]``, in the sibling in which branches run."""
        reading = self._generators.read()
        self._start(sibling, fork)
        self._refuse_moved(reading)

    def step_branches(self, actions: Array) -> StepRows:
        """One step of all branches; actions ``[N E, ...]``."""
        reading = self._generators.read()
        rows = self._step_branches(actions)
        self._steps[-1] = self._branch(-1).copy()  # of branch 0 alone, to save memory
        self._refuse_moved(reading)
        return rows

    def end(self) -> None:
        """Branches are complete."""
        reading = self._generators.read()
        self._end()
        self._refuse_moved(reading)

    def _start(self, sibling: Any, fork: Callable[[], Any]) -> None:
        self._sibling, self._actions, self._steps = sibling, [], []
        self._executed, self._after, self._reading = 0, None, None
        self._cost += 1
        try:
            self._roots = fork()
            sibling.set_state(self._roots)
        except NotRestorableError as error:
            raise self._error(str(error)) from error

    def _step_branches(self, actions: Array) -> StepRows:
        rows = StepRows.of(self._sibling.step(actions))
        self._cost += 1
        self._actions.append(actions)
        self._steps.append(rows)
        return rows

    def _end(self) -> None:
        """From time to time, try the first action of branch 0 in all branches."""
        if self._spent + _TRIAL <= _SHARE * self._cost:
            self._spent += _TRIAL
            self._try_one_action()

    def _try_one_action(self) -> None:
        """Take the first action of branch 0 in all branches; all must return the same and reach the same states."""
        exact = self._exact
        if exact:
            self._after = self._sibling.get_state()[: self._worlds]
        self._restart()
        rows, reference = StepRows.of(self._repeat(0)), self._branch(0)
        after = self._sibling.get_state() if exact else None
        for branch in range(self._n):
            chosen = slice(branch * self._worlds, (branch + 1) * self._worlds)
            found = first_difference(rows.rows(chosen), reference, next_episode=exact, exact=exact)
            if found is not None:
                what = f"the same action from the same state gave another {found.field} ({found.values[0]})"
                raise self._error(f"{what} than in branch 0 ({found.values[1]})", row=chosen.start + found.world)
            if after is None:
                continue
            states = self._after if len(self._steps) == 1 else after[: self._worlds]
            fields = after[chosen].decisive_differences(states)
            if fields:
                what = f"the same action from the same state led to another {_listed(fields)}"
                raise self._error(f"{what} in branch {branch} than in branch 0")

    # -- the executed step ------------------------------------------------------------------------------------------

    def execute(self, step: Callable[[], Returned], *, wrapped: bool) -> Returned:
        """Call ``step``, which steps the env, and compare the step with that of branch 0.

        Args:
            step: ``env.step`` of the outermost wrapper.
            wrapped: whether there are wrappers; then the step is compared as the env returns it, before they change it.
        """
        if not wrapped:
            return cast(Returned, self._compared(step))
        env = self._env
        inner, own = env.step_wait, vars(env).get("step_wait")
        env.step_wait = lambda: self._compared(inner)
        try:
            return step()
        finally:
            if own is None:
                del env.step_wait
            else:
                env.step_wait = own

    def _compared(self, step: Callable[[], Any]) -> Any:
        reading, self._reading = self._reading or self._generators.read(), None
        result = step()
        self._refuse_moved(reading)
        if self._executed >= len(self._steps):
            return result
        self._executed += 1
        if not self._steps[self._executed - 1].matches(result):
            self._refuse_difference(StepRows.of(result))
        if self._after is not None and self._executed == len(self._steps):
            fields = self._env.get_state().decisive_differences(self._after)
            if fields:
                raise self._error(f"the executed step led to another {_listed(fields)} than the same step in branch 0")
        return result

    def _refuse_difference(self, executed: StepRows) -> None:
        # No branch continues after its last step, so an env that is not exact may begin any episode there.
        continues = self._exact or self._executed < len(self._steps)
        branch = self._branch(self._executed - 1)
        found = first_difference(executed, branch, next_episode=continues, exact=self._exact)
        if found is not None:
            mine, theirs = found.values
            what = f"the executed step gave another {found.field} ({mine}) than the same step in branch 0 ({theirs})"
            raise self._error(what, self._saved_difference(found.world), row=found.world)

    def _saved_difference(self, world: int) -> str:
        """Text that names the saved fields that differ between the env and a repeated branch."""
        try:
            self._restart()
            for index in range(self._executed):
                self._repeat(index)
            mine, theirs = self._env.get_state(), self._sibling.get_state()[: self._worlds]
            differing = mine[[world]].differences(theirs[[world]])
            fields = [field for field in sorted(differing) if not any(text in field for text in _CONSEQUENCES)]
        except Exception:  # the difference is already known; this only adds to the message
            return ""
        return f"afterwards {_differ(fields)}" if fields else "afterwards no field that is saved differs"

    # -- both -------------------------------------------------------------------------------------------------------

    @property
    def _exact(self) -> bool:
        """Whether the states hold everything that decides a step and nothing else."""
        return isinstance(self._roots, ExactStates)

    def _restart(self) -> None:
        self._sibling.set_state(self._roots[: self._worlds].repeat(self._n))

    def _branch(self, index: int) -> StepRows:
        """What a step of branch 0 returned."""
        return self._steps[index].rows(slice(self._worlds))

    def _repeat(self, index: int) -> Any:
        """Repeat a step of branch 0 in all branches."""
        return self._sibling.step(np.concatenate([self._actions[index][: self._worlds]] * self._n))

    def _refuse_moved(self, reading: Reading) -> None:
        moved = self._generators.moved_since(reading)
        if moved:
            found = f"a step moved {' and '.join(moved)}, which all worlds and the algorithm share"
            raise RestoringFailedError(self._name, found, _DRAW)

    def _error(self, found: str, *more: str, row: int | None = None) -> RestoringFailedError:
        outside = getattr(self._env, "changed_outside", None)  # an adapter knows its name
        advice = outside or f"{_KEEP}, and {_DRAW}"
        return RestoringFailedError(self._name, found, *filter(None, more), advice, row=row)

    @property
    def _name(self) -> str:
        return name_of(self._env)


_DRAW = "draw random numbers from self.np_random"
_KEEP = "keep all that decides a step in fields of the environment (not of a class, module, closure or C library)"


def _differ(fields: list[str]) -> str:
    return f"{_listed(fields)} {'differs' if len(fields) == 1 else 'differ'}"


def _listed(fields: list[str]) -> str:
    return ", ".join(fields[:_SHOWN]) + (f" and {len(fields) - _SHOWN} more" if len(fields) > _SHOWN else "")
