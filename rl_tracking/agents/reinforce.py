"""REINFORCE: one sample a state, Monte Carlo returns, no critic, no clip (Williams 1992).

The loop is SB3's A2C. The buffer computes discounted returns of the episodes that ended in the rollout and leaves the
other steps out; the update is one step along the mean of return times gradient of the log-probability.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Unpack

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import A2C
from stable_baselines3.common.base_class import maybe_make_env
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, RolloutBufferSamples

from rl_tracking.agents.arguments import REINFORCEArguments
from rl_tracking.agents.collect.checks import check_action_space
from rl_tracking.agents.constructor import complete, takes
from rl_tracking.agents.saving.saved_model import SavedModel
from rl_tracking.errors import RunError, UsageError


class MonteCarloBuffer(RolloutBuffer):
    """A rollout whose advantages are the discounted returns of the episodes that ended within it.

    Steps of episodes that were still going when the rollout ended have no known return and are left out.
    """

    known: np.ndarray[Any, Any]

    def compute_returns_and_advantage(self, last_values: torch.Tensor, dones: np.ndarray[Any, Any]) -> None:
        """``G_t = r_t + gamma G_{t+1}`` up to the end of the episode; ``last_values`` are not looked at."""
        self.known = np.zeros((self.buffer_size, self.n_envs), dtype=bool)
        # Back from the last step; a return is known once an episode's end was met on the way.
        total = np.zeros(self.n_envs, dtype=np.float32)
        ended, known = np.asarray(dones, dtype=bool), np.asarray(dones, dtype=bool)
        for step in reversed(range(self.buffer_size)):
            total = self.rewards[step] + self.gamma * np.where(ended, 0.0, total)
            self.returns[step] = total
            self.known[step] = known
            ended = self.episode_starts[step].astype(bool)
            known = known | ended
        self.advantages = self.returns.copy()

    def get(self, batch_size: int | None = None) -> Generator[RolloutBufferSamples, None, None]:
        """The steps of known return, as one batch or in random minibatches."""
        assert self.full, "the rollout is not complete"
        if not self.generator_ready:
            for name in ("observations", "actions", "values", "log_probs", "advantages", "returns"):
                setattr(self, name, self.swap_and_flatten(getattr(self, name)))
            self.generator_ready = True
        # Steps without a known return are left out, not given a bootstrapped one: there is no critic.
        known = np.flatnonzero(self.known.swapaxes(0, 1).reshape(-1))
        chosen = np.random.permutation(known)
        size = batch_size or max(1, len(chosen))
        for start in range(0, len(chosen), size):
            yield self._get_samples(chosen[start : start + size])


@takes(REINFORCEArguments)
class REINFORCE(SavedModel, A2C):
    """The policy gradient with whole-episode returns; an SB3 ``A2C`` without its critic.

    A time limit ends the return: what would have come after it is not estimated. ``n_steps`` must reach the end of
    episodes: steps of unfinished ones are left out.

    Args:
        policy: as in A2C.
        env: any env, or its id.
        *positional: A2C's arguments in A2C's order, without those of a critic.
        **arguments: see below.

    Raises:
        RunError: in training, when no episode ends within a rollout.
    """

    named_classes = (MonteCarloBuffer,)

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | str,
        *positional: Any,
        **arguments: Unpack[REINFORCEArguments],
    ) -> None:
        env = maybe_make_env(env, arguments.get("verbose", 0))
        _, of_a2c = complete(REINFORCE, env, positional, arguments)
        super().__init__(policy, env, **of_a2c, gae_lambda=1.0, vf_coef=0.0, rollout_buffer_class=MonteCarloBuffer)

    def _setup_model(self) -> None:
        if isinstance(self.observation_space, spaces.Dict):
            raise UsageError("REINFORCE does not take Dict observations; use one Box, or ppo or trpo")
        # SB3's A2C would fail at these in its first step, with an error that names no space.
        check_action_space(self.action_space)
        super()._setup_model()
        # SB3 adds V of the last observation at a time limit: a critic that is always 0 adds nothing.
        for parameter in self.policy.value_net.parameters():
            torch.nn.init.zeros_(parameter)

    def collect_rollouts(self, *args: Any, **kwargs: Any) -> bool:
        """As in A2C, which draws the noise of gSDE before callbacks hear of the rollout."""
        self.between_rollouts = False
        return super().collect_rollouts(*args, **kwargs)

    def train(self) -> None:
        """One step along the policy gradient."""
        # Without one known return there is nothing to learn, and a silent update would hide that n_steps is too small.
        known = self.rollout_buffer.known  # type: ignore[attr-defined]
        if not known.any():
            raise RunError(
                f"no episode ended within a rollout of {self.n_steps} steps, so no return is known; "
                "n_steps must be at least as long as an episode"
            )
        # One return has no deviation, and SB3 would divide by NaN.
        normalize = self.normalize_advantage
        self.normalize_advantage = normalize and int(known.sum()) > 1
        super().train()
        self.normalize_advantage = normalize
        self.between_rollouts = True
        self.logger.record("train/known_returns", float(known.mean()))
