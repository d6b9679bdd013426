"""A weight of the critic that follows how well returns are predicted by its values, which noise does not bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rl_tracking.agents.collect.rollout import Estimate, PathRollout
from rl_tracking.agents.maths import baselines, calibration, estimators

_KEPT = 0.8  # of the evidence from one rollout to the next: the critic that it is about has changed since
_PRIOR, _DEVIATION = 1.0, 0.5  # of the slope across states: a critic that learns from these returns is near to right
_ACROSS, _WITHIN = 6, 3  # moments of the two slopes


class CalibratedCriticWeight:
    """V shrunk towards its mean by the slope of returns on V within groups.

    ``V_k(s) = mean V + k (V(s) - mean V)``. Within a group only the differences of V between branches count, and among
    all multiples of them k times is nearest to the differences of returns if k is the slope ``Cov(G, V) / Var(V)``
    within groups. It is measured in two steps, of each branch step k with the return G to the end of the branch:

    * b, the slope across all states, from rewards alone (:func:`~.calibration.across_moments`), with a normal prior;
    * the slope within groups, where V at the end of a branch counts b times, less one standard error.

    So a critic that is right across states and wrong along the action gets no weight, an exact one gets all of it at
    any noise, and there is no warm-up but the error. With branches of one step the executed branch's V(s') is compared
    with the return that followed it. Moments are pooled over rollouts, of which earlier ones count less. k comes from
    earlier rollouts, so it does not depend on the actions that it is applied to. The critic's own targets use V as it
    is. Where V does not vary within groups, or N is 1, k is b.

    Args:
        gamma: discount.
        evidence: what :attr:`evidence` was before.
    """

    is_learned = True

    def __init__(self, gamma: float, evidence: Sequence[float] | None = None) -> None:
        self._gamma, self.share = gamma, 0.0
        self._across, self._within = _Moments(_ACROSS), _Moments(_WITHIN)
        self._figures: dict[str, float] = {}
        if evidence is not None:
            self.evidence = list(evidence)

    @property
    def evidence(self) -> list[float]:
        """K and the pooled moments."""
        return [self.share, *self._across.numbers, *self._within.numbers]

    @evidence.setter
    def evidence(self, numbers: Sequence[float]) -> None:
        self.share = float(numbers[0])
        cut = 1 + len(self._across.numbers)
        self._across.numbers, self._within.numbers = numbers[1:cut], numbers[cut:]

    def __call__(self, rollout: Any) -> tuple[Any, Any]:
        """See :class:`~rl_tracking.agents.extensions.seams.CriticWeight`."""
        # One mean for V and V': shrinking both to it leaves differences between branches scaled by k alone.
        mean = rollout.value.mean()
        value, next_value = (estimators.shrink(v, mean, self.share) for v in (rollout.value, rollout.next_value))
        # Targets with a shrunk V would keep a critic small that began small.
        return rollout.with_values(value, next_value), rollout

    @torch.no_grad()
    def observe(self, rollout: Any, estimate: Estimate) -> None:
        """See :class:`~rl_tracking.agents.extensions.seams.CriticWeight`."""
        of_kind = _of_paths if isinstance(rollout, PathRollout) else _of_steps
        across, within = of_kind(rollout, estimate.reward, self._gamma)
        self._across.add(across)
        self._within.add(within)
        # Across states first: it says how far the V at the ends of branches can be believed.
        slope, error = calibration.across_slope(self._across.sums, self._across.squares)
        trust = _share(calibration.posterior_mean(slope, error, _PRIOR, _DEVIATION))
        inside, inside_error = calibration.within_slope(self._within.sums, self._within.squares, trust)
        # The lower end of the error: a critic that is not yet known to help within groups does not decide there.
        self.share = trust if inside_error == torch.inf else _share(inside - inside_error)
        self._figures = {"critic_slope_across": trust, "critic_slope_within": inside}

    @property
    def figures(self) -> dict[str, float]:
        """``critic_trust``: k; ``critic_slope_across``: b; ``critic_slope_within``: before the error is taken off."""
        return {"critic_trust": self.share, **self._figures}


class _Moments:
    """Sums of moments over roots and of their outer products, in which a rollout counts less than the next."""

    def __init__(self, size: int) -> None:
        self.sums = torch.zeros(size, dtype=torch.float64)
        self.squares = torch.zeros(size, size, dtype=torch.float64)

    def add(self, roots: Tensor) -> None:
        """Include the moments of a rollout, one row a root."""
        rows = roots.double().cpu()
        self.sums = _KEPT * self.sums + rows.sum(dim=0)
        self.squares = _KEPT**2 * self.squares + rows.T @ rows

    @property
    def numbers(self) -> list[float]:
        return [*self.sums.tolist(), *self.squares.flatten().tolist()]

    @numbers.setter
    def numbers(self, numbers: Sequence[float]) -> None:
        given = torch.tensor(numbers, dtype=torch.float64)
        self.sums, self.squares = given[: len(self.sums)], given[len(self.sums) :].view(self.squares.shape)


def _of_paths(rollout: PathRollout, reward: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """Moments across states and within groups, one row a root."""
    ends = rollout.terminated, rollout.episode_end
    ahead = calibration.ahead_of_paths(reward, rollout.value, rollout.next_value, *ends, gamma)
    start = baselines.episode_start(rollout.episode_end)
    return calibration.across_moments(rollout.value, ahead), calibration.within_moments(rollout.value, ahead, start)


def _of_steps(rollout: Any, reward: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """The same for branches of one step, one row a world."""
    ahead = calibration.ahead_of_steps(reward, rollout.next_value, rollout.terminated, rollout.episode_end, gamma)
    values = rollout.value, rollout.next_value
    within = calibration.executed_moments(reward, *values, rollout.terminated, rollout.episode_end, ahead, gamma)
    # The second half of the rollout sees too little of its future.
    half = max(1, len(reward) // 2)
    seen = calibration.Ahead(*(part[:half].unsqueeze(1).unsqueeze(0) for part in ahead))
    return calibration.across_moments(rollout.value[:half].unsqueeze(1).unsqueeze(0), seen), within


def _share(slope: float) -> float:
    return min(max(slope, 0.0), 1.0)
