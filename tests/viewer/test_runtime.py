from __future__ import annotations

import numpy as np
import pytest
import torch

from rl_tracking.envs.scenarios.pursuit.scenario import make_pursuit
from rl_tracking.envs.simulator import Simulator
from rl_tracking.viewer.runtime import TRAIL_STEPS, Runtime


def x_of(runtime: Runtime) -> float:
    return float(runtime.frame().moment.position[0, 0])


def test_the_first_frame(make) -> None:
    frame = make(seed=7).frame()
    assert (frame.step, frame.time, frame.seed, frame.episode) == (0, 0.0, 7, 0)
    assert frame.moment.of_role("pursuer").tolist() == [[1.0, 5.0, 3.0]]
    assert frame.moment.of_role("target").tolist() == [[6.0, 5.0, 3.0]]
    assert frame.chart == (5.0, "m")
    assert frame.moment.numbers["lap"] == (3.0, "")
    assert frame.history.tolist() == [5.0]
    assert frame.shown.terms == frame.metrics == {}
    assert frame.shown.term_scale == 0.0
    assert frame.shown.episode_return.tolist() == frame.shown.reward.tolist() == [0.0]
    assert (frame.low.tolist(), frame.high.tolist()) == ([0.0] * 3, [10.0] * 3)
    assert frame.moment.active.tolist() == [False]
    assert not frame.ended
    assert (frame.pilot, frame.scenario) == ("ahead", "line")


def test_forward_steps_pause_and_count(make) -> None:
    runtime = make()
    runtime.forward(4)
    frame = runtime.frame()
    assert frame.paused
    assert frame.step == 4
    assert frame.time == pytest.approx(0.4)
    assert x_of(runtime) == 5.0
    assert frame.chart == (1.0, "m")
    assert frame.moment.active.tolist() == [True]
    assert (frame.shown.lit_steps * frame.dt).tolist() == pytest.approx([0.1])
    assert frame.history.tolist() == [5.0, 4.0, 3.0, 2.0, 1.0]
    assert {name: values.tolist() for name, values in frame.shown.terms.items()} == {"alive": [1.0], "late": [-4.0]}
    assert frame.shown.term_scale == 4.0
    assert frame.shown.reward.tolist() == [-3.0]
    assert frame.shown.episode_return.tolist() == [0.0 - 1.0 - 2.0 - 3.0]
    assert frame.shown.action == ()
    assert frame.trails.shape == (2, 6, 3)
    assert frame.trails[0, :, 0].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 5.0]


def test_positions_and_numbers_are_interpolated_between_steps(make) -> None:
    runtime = make()
    runtime.forward(2)
    runtime.play()
    runtime.advance(0.05)
    frame = runtime.frame()
    assert runtime.fraction == pytest.approx(0.5)
    assert frame.step == 2
    assert frame.time == pytest.approx(0.25)
    assert x_of(runtime) == pytest.approx(3.5)
    assert frame.chart == (pytest.approx(2.5), "m")
    assert frame.history.tolist() == [5.0, 4.0, 3.0]
    runtime.advance(0.05)
    assert (runtime.step, runtime.fraction) == (3, pytest.approx(0.0, abs=1e-9))
    assert x_of(runtime) == pytest.approx(4.0)


def test_many_small_advances_are_one_large_one(make) -> None:
    fine, coarse = make(), make()
    for _ in range(60):
        fine.advance(0.55 / 60)
    coarse.advance(0.55)
    assert fine.step == coarse.step == 5
    assert fine.fraction == pytest.approx(coarse.fraction)
    np.testing.assert_allclose(fine.frame().moment.position, coarse.frame().moment.position)


def test_nothing_moves_while_paused(make) -> None:
    runtime = make()
    runtime.advance(0.15)
    runtime.pause()
    before = x_of(runtime)
    runtime.advance(10.0)
    assert x_of(runtime) == before
    assert runtime.frame().paused
    runtime.toggle()
    runtime.advance(0.06)
    assert runtime.step == 2


def test_speed_scales_time_and_has_limits(make) -> None:
    runtime = make()
    runtime.faster(2.0)
    runtime.advance(0.1)
    assert runtime.step == 2
    runtime.faster(1e6)
    assert runtime.speed == 8.0
    runtime.faster(1e-9)
    assert runtime.speed == 0.125


def test_rewind_shows_the_same_states_and_simulates_nothing_twice(make) -> None:
    runtime = make()
    runtime.forward(6)
    seen = [step.state for step in runtime.played]
    calls = runtime.simulator.calls
    runtime.rewind(2)
    assert runtime.step == 2
    assert runtime.shown.state is seen[2]
    assert runtime.frame().shown.episode_return.tolist() == [-1.0]
    assert runtime.frame().history.tolist() == [5.0, 4.0, 3.0]
    runtime.forward(4)
    assert [step.state for step in runtime.played] == seen
    assert runtime.simulator.calls == calls == 6
    with pytest.raises(ValueError, match="step 7"):
        runtime.rewind(7)
    with pytest.raises(ValueError, match="step -1"):
        runtime.rewind(-1)


def test_back_stops_at_the_beginning(make) -> None:
    runtime = make()
    runtime.forward(2)
    runtime.back()
    assert runtime.step == 1
    runtime.back(5)
    assert runtime.step == 0
    assert runtime.paused


def test_restart_takes_the_next_seed_or_the_given_one(make) -> None:
    runtime = make(seed=3)
    first = runtime.shown.state.key
    runtime.forward(5)
    runtime.restart()
    assert (runtime.seed, runtime.episode, runtime.step) == (4, 1, 0)
    assert runtime.shown.state.key != first
    runtime.restart(seed=3)
    assert (runtime.seed, runtime.episode) == (3, 2)
    assert runtime.shown.state.key == first


def test_the_end_by_time_limit_is_shown_then_the_next_episode_begins(make) -> None:
    runtime = make(hold=1.0)
    runtime.advance(0.9)  # eight steps; what is left over does not run into the next episode
    frame = runtime.frame()
    assert (frame.step, frame.ended, frame.shown.reason) == (8, True, "time limit")
    assert frame.time == pytest.approx(0.8)
    runtime.advance(0.9)
    assert runtime.episode == 0
    runtime.advance(0.2)
    assert (runtime.episode, runtime.seed, runtime.step) == (1, 1, 0)


def test_an_episode_that_ends_in_success_says_so_in_the_scenario_s_words(make) -> None:
    runtime = make(terminates=True)
    runtime.forward(100)
    frame = runtime.frame()
    assert (frame.step, frame.ended, frame.shown.reason, frame.shown.success) == (4, True, "captured", True)
    assert frame.metrics == {"captured": "yes", "mean distance [m]": "2.50", "time to capture [s]": "\N{EN DASH}"}


def test_a_time_limit_is_no_success(make) -> None:
    runtime = make(radius=0.5, steps=5)  # the target is reached at the last step, which does not end the episode
    runtime.forward(5)
    frame = runtime.frame()
    assert frame.moment.active.tolist() == [True]
    assert (frame.shown.reason, frame.shown.success) == ("time limit", False)


def test_an_episode_that_ends_otherwise_names_what_happened_in_its_last_step(fleet) -> None:
    runtime = fleet()
    runtime.forward(100)
    frame = runtime.frame()
    assert (frame.step, frame.shown.reason, frame.shown.success) == (40, "crashed into rock", False)


def test_agents_have_rewards_and_discrete_actions_of_their_own(fleet) -> None:
    runtime = fleet()
    assert runtime.frame().shown.reward.tolist() == [0.0] * 3
    runtime.forward(2)
    frame = runtime.frame()
    assert frame.shown.action == (0, 1, 2)
    assert frame.shown.reward.tolist() == pytest.approx([0.05, 0.35, 0.65])
    assert frame.shown.episode_return.tolist() == pytest.approx([0.1, 0.7, 1.3])
    assert frame.shown.terms["pace"].tolist() == pytest.approx([0.3, 0.6, 0.9])
    assert frame.shown.terms["time"].tolist() == [-0.25] * 3
    assert frame.shown.term_scale == pytest.approx(0.9)


def test_a_scene_without_a_chart_has_no_history(fleet) -> None:
    frame = fleet().frame()
    assert frame.chart is None
    assert len(frame.history) == 0


def test_it_stops_after_the_asked_number_of_episodes(make) -> None:
    runtime = make(episodes=2, hold=0.5)
    for _ in range(100):
        runtime.advance(0.1)
    assert runtime.finished
    assert (runtime.episode, runtime.step) == (1, 8)
    with pytest.raises(ValueError, match="at least 1"):
        make(episodes=0)


def test_rewinding_an_ended_episode_makes_it_go_on(make) -> None:
    runtime = make(episodes=1, hold=0.2)
    runtime.advance(1.0)
    runtime.advance(0.3)
    assert runtime.finished
    runtime.rewind(3)
    assert not runtime.finished
    assert not runtime.frame().ended
    runtime.advance(0.1)
    assert runtime.step == 4
    runtime.advance(1.0)
    assert runtime.frame().ended
    assert not runtime.finished  # its end is shown once more


def test_trails_keep_the_last_steps_only(make) -> None:
    runtime = make(steps=TRAIL_STEPS + 50)
    runtime.forward(TRAIL_STEPS + 20)
    trail = runtime.frame().trails[0]
    assert len(trail) == TRAIL_STEPS + 1
    assert trail[-1, 0] == x_of(runtime)
    assert trail[0, 0] == x_of(runtime) - TRAIL_STEPS + 1


def test_flat_worlds_lie_on_the_floor(make) -> None:
    frame = make(dimensions=2).frame()
    assert frame.moment.position.tolist() == [[1.0, 5.0, 0.0], [6.0, 5.0, 0.0]]
    assert frame.high.tolist() == [10.0, 10.0, 0.0]


class Still:
    name = "still"

    def act(self, state, observation):
        return torch.zeros(1, state.position[0].numel())


@pytest.mark.parametrize(
    "parameters",
    [{}, {"preset": "sandbox"}, {"pursuers": 3}, {"dimensions": 2}],
    ids=["drone", "sandbox", "three", "flat"],
)
def test_the_real_simulator_is_replayed_bit_for_bit(parameters) -> None:
    simulator = Simulator(make_pursuit(**parameters))
    one, other = Runtime(simulator, Still(), seed=5), Runtime(simulator, Still(), seed=5)
    one.forward(30)
    one.rewind(10)
    one.forward(20)
    other.forward(30)
    assert one.shown.state.equal(other.shown.state)
    frame = one.frame()
    state = one.shown.state
    assert frame.chart is not None
    assert frame.chart.value == float(frame.history[-1])
    assert frame.shown.episode_return.tolist() == pytest.approx([float(state.episode_return[0])], rel=1e-5)
    metrics = simulator.metrics(state)
    assert (frame.shown.lit_steps * frame.dt).tolist() == pytest.approx(
        [float(metrics["time_in_radius"][0]) * frame.time]
    )
    assert frame.history[1:].mean() == pytest.approx(float(metrics["mean_distance"][0]), rel=1e-5)
