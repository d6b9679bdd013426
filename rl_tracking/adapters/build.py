"""Any Gymnasium environment as a restorable ``VecEnv``: its state is saved, copied and restored exactly, or refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from rl_tracking.adapters.blueprint import Blueprint, difference
from rl_tracking.adapters.checked_vec_env import CheckedVecEnv
from rl_tracking.adapters.describing import Description
from rl_tracking.adapters.gym_states import GymStates
from rl_tracking.adapters.hidden_noise import reseeding_changes_steps
from rl_tracking.adapters.own_spaces import separate
from rl_tracking.adapters.select import global_generators_kept, select_strategy
from rl_tracking.adapters.shared_state import SharedState
from rl_tracking.adapters.stacks import Env, layers_of, prepared
from rl_tracking.adapters.strategies import Fields
from rl_tracking.adapters.usable import maker_of, refuse_unusable
from rl_tracking.errors import Evidence, StepError, UsageError, unknown
from rl_tracking.restoring.protocol import NotRestorableError, SharedStateError

_MOST_REMEMBERED = 100_000  # steps since a state was saved or restored


class RestorableGymVecEnv(CheckedVecEnv):
    """Many copies of a Gymnasium environment, stepped one after the other as in SB3's ``DummyVecEnv``; restorable.

    Auto-reset, infos and seeds are SB3's; but where only a reset with a seed can be repeated, every auto-reset gets a
    seed that follows from the world's and from the episode (see :mod:`rl_tracking.adapters.strategies`). A finished
    episode is reported in its last info as SB3's ``Monitor`` does (``episode`` with r, l and t); a ``Monitor`` in the
    environment gets its lists and its file, from here and not from the branches.

    Args:
        env: a registered id, an environment (which becomes the first world), or a function that makes one.
        num_envs: how many worlds E.
        seed: of the next reset; world i starts from ``seed + i``.
        described_as: see :meth:`describe`; read from the environments if not given.
        **parameters: of the environment, for an id.

    Raises:
        NotRestorableError: its state cannot be saved and restored exactly; the text says what differs.
        UsageError: an unknown id, or a package that it needs is missing.
    """

    def __init__(
        self,
        env: str | Env | Callable[[], Env],
        num_envs: int = 1,
        seed: int | None = None,
        *,
        described_as: Description | None = None,
        **parameters: Any,
    ) -> None:
        if num_envs < 1:
            raise UsageError(f"num_envs must be 1 or more, not {num_envs}")
        make, made = (None, env) if isinstance(env, gym.Env) else maker_of(env, parameters)
        world, monitor = prepared(made)
        blueprint = Blueprint(world, make)
        chosen = _select(blueprint)
        worlds = [world, *[blueprint.build(may_display=True) for _ in range(num_envs - 1)]]
        self._assemble(worlds, [monitor, *[None] * (num_envs - 1)], blueprint, *chosen, described_as)
        self.seed(seed)

    @classmethod
    def of(cls, venv: DummyVecEnv) -> RestorableGymVecEnv:
        """The environments of a ``DummyVecEnv``, which must not be used any more.

        Raises:
            NotRestorableError: as above.
        """
        worlds, monitors = zip(*map(prepared, venv.envs), strict=True)
        for world in worlds[1:]:
            found = difference(worlds[0], world)
            if found is not None:
                raise NotRestorableError(
                    f"the worlds of this DummyVecEnv cannot be forked: they differ in {found}, which is not saved"
                )
            separate(layers_of(world), [layer for one in worlds if one is not world for layer in layers_of(one)])
        blueprint = Blueprint(worlds[0])
        made = cls.__new__(cls)
        made._assemble(worlds, monitors, blueprint, *_select(blueprint))
        made._seeds, made._options = list(venv._seeds), list(venv._options)
        return made

    def _assemble(
        self,
        worlds: Sequence[Env],
        monitors: Sequence[Monitor | None],
        blueprint: Blueprint,
        strategy: type[Fields],
        shared: SharedState,
        described_as: Description | None = None,
    ) -> None:
        super().__init__([lambda world=world: world for world in worlds], described_as)  # type: ignore[misc]
        self._monitors, self._blueprint, self._strategy = monitors, blueprint, strategy
        self._shared = shared
        self._snapshots = [strategy(world, with_spaces=blueprint.draws_from_spaces) for world in worlds]
        for number, snapshot in enumerate(self._snapshots):
            snapshot.spaces.seed = number
        self._remembered: tuple[GymStates, list[np.ndarray[Any, Any]]] | None = None
        self._began = self._noise_is_readable = False
        self._turn = 0  # by how many places the worlds move before states are restored
        self._start_time = time.time()

    # -- restorable -------------------------------------------------------------------------------------------------

    @property
    def strategy(self) -> str:
        """How the worlds are saved and restored."""
        return self._strategy.title

    @property
    def slow(self) -> bool:
        """Whether a restore costs as many steps as the episode has had."""
        return self._strategy.slow

    def get_state(self) -> GymStates:
        """The states of all worlds, generators included; of the first episode if there was no reset yet.

        Raises:
            SharedStateError: what all worlds share has changed, which no state holds.
            NotRestorableError: a field holds what cannot be copied.
        """
        if not self._began:
            self.reset()
        changed = self._shared.changed(begun=True, thorough=False)
        if changed is not None:
            raise SharedStateError(f"{self._blueprint.name} cannot be forked any more: {changed}")
        states = GymStates(tuple(snapshot.save() for snapshot in self._snapshots))
        self._remembered = (states, [])
        return states

    @property
    def changed_outside(self) -> str | None:
        """What has changed that no state holds; None if nothing has."""
        replaced = (snapshot.replaced() for snapshot in self._snapshots)
        return self._shared.changed(begun=self._began) or next(filter(None, replaced), None)

    def set_state(self, states: GymStates) -> None:
        """Restore states of as many worlds as this has.

        Raises:
            UsageError: they are no such states.
            NotRestorableError: playing an episode again led to another state.
        """
        if not isinstance(states, GymStates):
            raise UsageError(f"set_state takes GymStates, not a {type(states).__name__}")
        if len(states) != self.num_envs:
            raise UsageError(f"set_state takes {self.num_envs} worlds, not {len(states)}")
        # Gymnasium allows no step before the first reset.
        if not self._began:
            self.reset()
        # Each slot gets another world than at the last restore, see spawn.
        if self._turn:
            self.envs = self.envs[self._turn :] + self.envs[: self._turn]
            self._snapshots = self._snapshots[self._turn :] + self._snapshots[: self._turn]
        # Each world gets its fields and generators.
        for snapshot, state in zip(self._snapshots, states.worlds, strict=True):
            snapshot.restore(state)
        self._remembered = (states, [])

    def fork(self, branches: int, noise: str = "common") -> GymStates:
        """``branches`` copies of every present state, branch-major.

        Args:
            branches: how many.
            noise: ``common``: all branches draw the same random numbers; ``independent``: each has its own, and branch
                0 those of the world itself.

        Raises:
            UsageError: another noise.
            NotRestorableError: it can only be played again, and its generators cannot be read.
        """
        if noise not in ("common", "independent"):
            raise unknown("noise of branches:", noise, ("common", "independent"))
        states = self.get_state()
        if noise == "common":
            return states.repeat(branches)
        if self.slow and not self._noise_is_readable:
            sibling = self.spawn(1)
            self._noise_is_readable = reseeding_changes_steps(sibling)
            sibling.close()
            if not self._noise_is_readable:
                raise NotRestorableError(
                    f"the branches of {self._blueprint.name} cannot have noise of their own: no generator that can be "
                    "read changes what its steps give; use the noise 'common'"
                )
        return states.forked(branches)

    @property
    def max_episode_steps(self) -> int | None:
        """The longest an episode can be, if the environment says so."""
        limits = [layer for layer in layers_of(self.envs[0]) if isinstance(layer, gym.wrappers.TimeLimit)]
        return min((layer._max_episode_steps for layer in limits), default=None)

    def spawn(self, num_envs: int) -> RestorableGymVecEnv:
        """A sibling with ``num_envs`` worlds of its own, without the user's ``Monitor``."""
        sibling = type(self).__new__(type(self))
        worlds = [self._blueprint.build() for _ in range(num_envs)]
        sibling._assemble(worlds, [None] * num_envs, self._blueprint, self._strategy, self._shared)
        # Branches change places between restores: state that is not saved would otherwise add up in branch 0 exactly as
        # in its world, and comparing the two would show nothing. The next branch of the same world has generators with
        # the same seeds. Episodes that are played again are compared each time, and branch 0 continues where it is.
        sibling._turn = 0 if self.slow else self.num_envs
        return sibling

    # -- VecEnv -----------------------------------------------------------------------------------------------------

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed the next reset: world i starts from ``seed + i``."""
        seeds = super().seed(seed)
        for snapshot, own in zip(self._snapshots, seeds, strict=True):
            snapshot.spaces.seed = own or 0
        return seeds

    def reset(self) -> VecEnvObs:
        """New episodes everywhere, from the seeds if they were set since the last reset."""
        self._began, self._remembered = True, None
        self._seeds = [one.next_seed(seed) for one, seed in zip(self._snapshots, self._seeds, strict=True)]
        return super().reset()

    def step_async(self, actions: np.ndarray[Any, Any]) -> None:
        """Take actions ``[E, ...]``; they are kept with the states before them, to repeat a step that fails."""
        super().step_async(actions)
        if self._remembered is not None:
            self._remembered[1].append(self.actions)
            if len(self._remembered[1]) > _MOST_REMEMBERED:
                self._remembered = None

    def step_wait(self) -> VecEnvStepReturn:
        """Apply the actions; worlds that end are reset at once.

        Raises:
            EnvironmentStepError: a step raised, or returned what it must not.
        """
        try:
            return super().step_wait()
        except StepError as error:
            if self._remembered is not None:
                states, actions = self._remembered
                error.evidence = Evidence(states, np.stack(actions))
            raise

    def _next_reset(self, world: int) -> dict[str, Any]:
        seed = self._snapshots[world].next_seed()
        return {} if seed is None else {"seed": seed}

    def _report(self, world: int, info: dict[str, Any]) -> None:
        """Complete the report of a finished episode, and pass it on to the user's ``Monitor``."""
        episode = info.get("episode")
        if not isinstance(episode, dict):
            return
        monitor = self._monitors[world]
        episode.setdefault("t", round(time.time() - (monitor.t_start if monitor else self._start_time), 6))
        if monitor is None:
            return
        episode |= {key: info[key] for key in monitor.info_keywords} | monitor.current_reset_info
        monitor.episode_returns.append(episode["r"])
        monitor.episode_lengths.append(episode["l"])
        monitor.episode_times.append(episode["t"])
        monitor.total_steps += episode["l"]
        if monitor.results_writer:
            monitor.results_writer.write_row(episode)

    def close(self) -> None:
        """Close the worlds, and the files of their monitors."""
        super().close()
        for monitor in self._monitors:
            if monitor is not None and monitor.results_writer is not None:
                monitor.results_writer.close()

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """As in SB3; True for ``Monitor``, whose work is done here."""
        if wrapper_class is Monitor:
            return [True for _ in self._get_indices(indices)]
        return super().env_is_wrapped(wrapper_class, indices)


def _select(blueprint: Blueprint) -> tuple[type[Fields], SharedState]:
    """How the worlds are saved, and what they share."""
    with global_generators_kept():
        refuse_unusable(blueprint)
        shared = SharedState(blueprint)
        return select_strategy(blueprint, shared), shared
