"""Any Gymnasium environment as a restorable ``VecEnv``: saved, copied N ways and put back exactly, or refused."""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn
from stable_baselines3.common.vec_env.util import dict_to_obs

from rl_tracking.adapters import registry
from rl_tracking.adapters.blueprint import Blueprint, difference
from rl_tracking.adapters.checked import CheckedVecEnv
from rl_tracking.adapters.describing import Description
from rl_tracking.adapters.freezing.core import ATOMS
from rl_tracking.adapters.gym_states import GymStates
from rl_tracking.adapters.own_spaces import separate
from rl_tracking.adapters.select import global_generators_kept, select_strategy
from rl_tracking.adapters.shared_state import SharedState
from rl_tracking.adapters.stacks import CHECKING_WRAPPERS, Env, layers_of, prepared
from rl_tracking.adapters.strategies import Fields
from rl_tracking.adapters.usable import made_by, refuse_unusable
from rl_tracking.errors import Evidence, StepError, UsageError, unknown
from rl_tracking.restoring.protocol import NotRestorableError, SharedStateError

_TRIAL_STEPS = 30  # in which noise that can be drawn anew has to show
_MOST_REMEMBERED = 100_000  # steps since a state was saved or put back


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
        NotRestorableError: its state cannot be saved and put back faithfully; the text says what differs.
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
        make, made = (None, env) if isinstance(env, gym.Env) else _made(env, parameters)
        world, monitor = prepared(made)
        blueprint = Blueprint(world, make)
        chosen = _select(blueprint)
        worlds = [world, *[blueprint.build(shows=True) for _ in range(num_envs - 1)]]
        self._assemble(worlds, [monitor, *[None] * (num_envs - 1)], blueprint, *chosen, described_as)
        self.seed(seed)

    @classmethod
    def of(cls, venv: DummyVecEnv) -> RestorableGymVecEnv:
        """The environments of a ``DummyVecEnv``, which is not to be used any more.

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
        way: type[Fields],
        shared: SharedState,
        described_as: Description | None = None,
    ) -> None:
        super().__init__([lambda world=world: world for world in worlds], described_as)  # type: ignore[misc]
        self._monitors, self._blueprint, self._way = monitors, blueprint, way
        self._shared = shared
        self._ways = [way(world) for world in worlds]
        for number, each in enumerate(self._ways):
            each.spaces.seed = number
        self._remembered: tuple[GymStates, list[np.ndarray[Any, Any]]] | None = None
        self._began = self._has_own_noise = False
        self._turn = 0  # by how many places the worlds move before states are put back
        self._made_at = time.time()

    # -- restorable -------------------------------------------------------------------------------------------------

    @property
    def strategy(self) -> str:
        """How the worlds are saved and restored."""
        return self._way.title

    @property
    def slow(self) -> bool:
        """Whether a restore costs as many steps as the episode has had."""
        return self._way.slow

    def get_state(self) -> GymStates:
        """The states of all worlds, generators included; of the first episode if there was no reset yet.

        Raises:
            SharedStateError: what all worlds share has changed, which no state holds.
            NotRestorableError: a field has come to hold what cannot be copied.
        """
        if not self._began:
            self.reset()
        changed = self._shared.changed(begun=True, thorough=False)
        if changed is not None:
            raise SharedStateError(f"{self._blueprint.name} cannot be forked any more: {changed}")
        states = GymStates(tuple(way.save() for way in self._ways))
        self._remembered = (states, [])
        return states

    @property
    def changed_outside(self) -> str | None:
        """What has changed, though no state holds it, since it was found to be constant; None if nothing has."""
        replaced = (way.replaced() for way in self._ways)
        return self._shared.changed(begun=self._began) or next(filter(None, replaced), None)

    def set_state(self, states: GymStates) -> None:
        """Put back states of as many worlds as this has slots.

        Raises:
            UsageError: they are no such states.
            NotRestorableError: playing an episode again came out otherwise.
        """
        if not isinstance(states, GymStates):
            raise UsageError(f"set_state takes GymStates, not a {type(states).__name__}")
        if len(states) != self.num_envs:
            raise UsageError(f"set_state takes {self.num_envs} worlds, not {len(states)}")
        if not self._began:
            self.reset()  # Gymnasium lets nobody step before
        if self._turn:
            self.envs = self.envs[self._turn :] + self.envs[: self._turn]
            self._ways = self._ways[self._turn :] + self._ways[: self._turn]
        for way, world in zip(self._ways, states.worlds, strict=True):
            way.restore(world)
        self._remembered = (states, [])

    def fork(self, branches: int, noise: str = "common") -> GymStates:
        """``branches`` copies of every present state, branch-major.

        Args:
            branches: how many.
            noise: ``common``: all branches draw the same random numbers; ``independent``: each has its own, and branch
                0 those of the world itself.

        Raises:
            UsageError: another noise.
            NotRestorableError: it can only be played again, and its noise comes from where nobody can read.
        """
        if noise not in ("common", "independent"):
            raise unknown("noise of branches:", noise, ("common", "independent"))
        states = self.get_state()
        if noise == "common":
            return states.repeat(branches)
        if self.slow and not self._has_own_noise:
            self._refuse_hidden_noise()
        return states.forked(branches)

    def _refuse_hidden_noise(self) -> None:
        """What is played again may hide its generator; then branches would share what they draw."""
        sibling = self.spawn(1)
        sibling.seed(0)
        sibling.reset()
        states, space = sibling.get_state(), copy.deepcopy(self.action_space)
        space.seed(0)
        actions = [np.stack([space.sample()]) for _ in range(_TRIAL_STEPS)]
        outcomes = []
        for each in (states, states.reseeded(1)):
            sibling.set_state(each)
            outcomes.append([_numbers_of(result) for result in _until_done(sibling, actions)])
        sibling.close()
        if outcomes[0] == outcomes[1]:
            raise NotRestorableError(
                f"the branches of {self._blueprint.name} cannot have noise of their own: no generator that can be read "
                "changes what its steps give; use the noise 'common'"
            )
        self._has_own_noise = True

    @property
    def max_episode_steps(self) -> int | None:
        """The longest an episode can be, if the environment says so."""
        limits = [layer for layer in layers_of(self.envs[0]) if isinstance(layer, gym.wrappers.TimeLimit)]
        return min((layer._max_episode_steps for layer in limits), default=None)

    def spawn(self, num_envs: int) -> RestorableGymVecEnv:
        """A sibling with ``num_envs`` worlds of its own, without the user's ``Monitor``."""
        sibling = type(self).__new__(type(self))
        worlds = [self._blueprint.build() for _ in range(num_envs)]
        sibling._assemble(worlds, [None] * num_envs, self._blueprint, self._way, self._shared)
        # Else what is not saved would add up in branch 0 as it does in its world, and nobody would see a difference.
        # Where episodes are played again they are compared each time, and the one of branch 0 is at hand.
        sibling._turn = 0 if self.slow else self.num_envs  # the same world's next branch, whose generators are alike
        return sibling

    # -- VecEnv -----------------------------------------------------------------------------------------------------

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed the next reset: world i starts from ``seed + i``."""
        seeds = super().seed(seed)
        for way, own in zip(self._ways, seeds, strict=True):
            way.spaces.seed = own or 0
        return seeds

    def reset(self) -> VecEnvObs:
        """New episodes everywhere, from the seeds if they were set since the last reset."""
        self._began, self._remembered = True, None
        self._seeds = [way.next_seed(seed) for way, seed in zip(self._ways, self._seeds, strict=True)]
        return super().reset()

    def step_async(self, actions: np.ndarray[Any, Any]) -> None:
        """Take actions ``[E, ...]``, and remember them: with the states before, they make a failed step again."""
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
            return self._step_all()
        except StepError as error:
            if self._remembered is not None:
                states, actions = self._remembered
                error.evidence = Evidence(states, np.stack(actions))
            raise

    def _step_all(self) -> VecEnvStepReturn:
        infos = []
        for world, env in enumerate(self.envs):
            # A copy: what an environment keeps of its action must not hold the actions of other worlds and branches.
            action = self.actions[world]
            if not isinstance(action, np.generic):  # those cannot change
                action = action.copy() if type(action) is np.ndarray else copy.copy(action)
            observation, reward, terminated, truncated, returned = self.checks.step(env, action, world)
            info = _own(returned)
            info["TimeLimit.truncated"] = truncated and not terminated
            self.buf_rews[world], self.buf_dones[world] = reward, terminated or truncated
            if terminated or truncated:
                self._report(world, info)
                self.checks.finite(observation, world)
                info["terminal_observation"] = copy.deepcopy(observation)
                seed = self._ways[world].next_seed()
                arguments = {} if seed is None else {"seed": seed}
                observation, self.reset_infos[world] = self.checks.reset(env, world, **arguments)
                self.checks.finite(observation, world, "reset")
            self._save_obs(world, observation)
            infos.append(info)
        self._check_finite("step")
        return self._obs_from_buf(), self.buf_rews.copy(), self.buf_dones.copy(), infos

    def _obs_from_buf(self) -> VecEnvObs:
        # A shallow copy of each array is enough, and a tenth of a deep one's time.
        return dict_to_obs(self.observation_space, {key: array.copy() for key, array in self.buf_obs.items()})

    def _report(self, world: int, info: dict[str, Any]) -> None:
        """Complete what is said of a finished episode, and pass it on to the user's ``Monitor``."""
        episode = info.get("episode")
        if not isinstance(episode, dict):
            return
        monitor = self._monitors[world]
        episode.setdefault("t", round(time.time() - (monitor.t_start if monitor else self._made_at), 6))
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
        """As in SB3; True for ``Monitor``, whose job is done here."""
        if wrapper_class is Monitor:
            return [True for _ in self._get_indices(indices)]
        return super().env_is_wrapped(wrapper_class, indices)


def adapt(env: str | Env | Callable[[], Env] | DummyVecEnv) -> Any:
    """A restorable ``VecEnv`` of an environment; the adapter ``gymnasium`` of :mod:`rl_tracking.plugins`.

    An environment with ``to_vec`` becomes the batch of one world that this returns, unless a wrapper around it keeps
    state; every other goes into a :class:`RestorableGymVecEnv`.

    Args:
        env: a registered id, an environment, a function that makes one, or a ``DummyVecEnv`` of some.

    Raises:
        NotRestorableError: its state cannot be saved and restored; it says why.
        UsageError: an unknown id.
    """
    if isinstance(env, DummyVecEnv):
        return RestorableGymVecEnv.of(env)
    if isinstance(env, gym.Env):
        return _own_batch(env) or RestorableGymVecEnv(env)
    _, made = _made(env, {})
    own = _own_batch(made)
    made.close()
    return own or RestorableGymVecEnv(env)


def _own_batch(env: Env) -> Any:
    """The batch of one world that the environment makes itself; None if it makes none or a wrapper keeps state."""
    layer: Any = env
    while type(layer).__name__ in CHECKING_WRAPPERS:
        layer = layer.env
    if isinstance(layer, gym.Wrapper) or not callable(getattr(layer, "to_vec", None)):
        return None
    return layer.to_vec()


def _select(blueprint: Blueprint) -> tuple[type[Fields], SharedState]:
    """How the worlds are saved, and what they share."""
    with global_generators_kept():
        refuse_unusable(blueprint)
        shared = SharedState(blueprint)
        return select_strategy(blueprint, shared), shared


def _made(env: str | Callable[[], Env], parameters: dict[str, Any]) -> tuple[Callable[[], Env], Env]:
    """A function that makes environments, and what it has made."""
    if isinstance(env, str):
        make = functools.partial(registry.make, env, **parameters)
        return make, made_by(make, f"environment '{env}'")
    if parameters:
        raise UsageError(f"parameters ({', '.join(parameters)}) go with an id, not with a function")
    return env, made_by(env)


def _until_done(env: DummyVecEnv, actions: list[np.ndarray[Any, Any]]) -> Iterator[VecEnvStepReturn]:
    for action in actions:
        result = env.step(action)
        yield result
        if result[2].any():
            return


def _numbers_of(result: VecEnvStepReturn) -> list[bytes]:
    observation, reward, *_ = result
    parts = observation.values() if isinstance(observation, dict) else (observation,)
    return [reward.tobytes(), *[np.asarray(part).tobytes() for part in parts]]


def _own(info: dict[str, Any]) -> dict[str, Any]:
    """A copy that shares nothing which can change."""
    return {name: value if type(value) in ATOMS else copy.deepcopy(value) for name, value in info.items()}
