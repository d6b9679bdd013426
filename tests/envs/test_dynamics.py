"""Every formula has a closed form to be held against: terminal speed, exponential lag, constant acceleration."""

import itertools
import math

import pytest
import torch

from rl_tracking.envs import noise
from rl_tracking.envs.noise import Stream
from rl_tracking.envs.parts.dynamics import Body, Drone, Kinematic, gust


def drone(**changes):
    """A drone that nothing holds back but what a test asks for: no drag, no lag, no speed limit in reach."""
    values = {"dt": 0.1, "max_acceleration": 12.0, "max_speed": 1e6, "drag": 0.0, "motor_lag": 0.0, "substeps": 2}
    return Drone(**{**values, **changes})


def at_rest(worlds=1, pursuers=1, dimensions=3):
    return Body(*(torch.zeros(worlds, pursuers, dimensions) for _ in range(3)))


def command(*values):
    return torch.tensor(values, dtype=torch.float32).view(1, 1, -1)


def fly(dynamics, body, u, steps, wind=None):
    for _ in range(steps):
        body = dynamics.step(body, u, wind)
    return body


class TestKinematic:
    def test_an_action_is_a_displacement(self):
        body = Kinematic(dt=0.5, step_length=4.0).step(at_rest(), command(1, -0.25, 0), None)
        assert body.position.flatten().tolist() == [4, -1, 0]
        assert body.velocity.flatten().tolist() == [8, -2, 0]
        assert body.acceleration.flatten().tolist() == [16, -4, 0]

    def test_each_axis_has_its_own_limit(self):
        dynamics = Kinematic(dt=0.5, step_length=4.0)
        body = dynamics.step(at_rest(), command(1, 1, 1), None)
        assert body.velocity.abs().max().item() == dynamics.speed_limit == 8.0
        reversed_body = dynamics.step(body, command(-1, -1, -1), None)
        assert reversed_body.acceleration.abs().max().item() == dynamics.acceleration_limit == 32.0

    @pytest.mark.parametrize(
        ("action", "units"),
        [(0.99, 9), (-0.99, -9), (0.05, 0), (-0.05, 0), (1.0, 10), (-1.0, -10), (0.3, 3), (-0.35, -3), (0.0, 0)],
    )
    def test_whole_units_are_cut_towards_zero(self, action, units):
        dynamics = Kinematic(dt=1.0, step_length=10.0, whole_units=True)
        u = command(action, 0, -action)
        body = dynamics.step(at_rest(), u, None)
        assert body.position.flatten().tolist() == [units, 0, -units]
        assert body.velocity.flatten().tolist() == [units, 0, -units]
        assert torch.equal(u, command(action, 0, -action)), "the action given was changed"

    def test_wind_carries_and_is_not_cut(self):
        dynamics = Kinematic(dt=0.5, step_length=10.0, whole_units=True)
        body = dynamics.step(at_rest(), command(0.19, 0, 0), command(0.5, 0, -3))
        assert body.position.flatten().tolist() == [1.25, 0, -1.5]
        assert body.velocity.flatten().tolist() == [2.5, 0, -3]


class TestDrone:
    @pytest.mark.parametrize("substeps", [1, 2, 5, 10])
    def test_terminal_speed_is_acceleration_over_drag(self, substeps):
        dynamics = drone(drag=0.3, motor_lag=0.15, substeps=substeps)
        body = fly(dynamics, at_rest(), command(0.5, 0, 0), 600)
        # float32 rounds the decay of a sub-step by 6e-8, which weighs 1 / (k h) times as much in the end.
        assert body.velocity[0, 0, 0].item() == pytest.approx(6.0 / 0.3, rel=1e-7 / (0.3 * 0.1 / substeps))
        assert body.velocity[0, 0, 1:].tolist() == [0, 0]

    @pytest.mark.parametrize("substeps", [1, 3])
    @pytest.mark.parametrize("drag", [0.1, 0.3, 2.0, 30.0])
    def test_terminal_speed_stays(self, substeps, drag):
        body = Body(torch.zeros(1, 1, 3), command(12.0 / drag, 0, 0), command(12, 0, 0))
        body = drone(drag=drag, substeps=substeps, motor_lag=0.15).step(body, command(1, 0, 0), None)
        assert body.velocity[0, 0, 0].item() == pytest.approx(12.0 / drag, rel=1e-6)
        # 0.1 s at that speed.
        assert body.position[0, 0, 0].item() == pytest.approx(1.2 / drag, rel=1e-6)

    @pytest.mark.parametrize("substeps", [1, 2, 7])
    def test_speed_approaches_it_exponentially_whatever_the_substeps(self, substeps):
        dynamics = drone(drag=0.3, substeps=substeps)
        for steps in (1, 10, 33):
            body = fly(dynamics, at_rest(), command(1, 0, 0), steps)
            expected = 12.0 / 0.3 * (1 - math.exp(-0.3 * 0.1 * steps))
            assert body.velocity[0, 0, 0].item() == pytest.approx(expected, rel=1e-5)

    def test_drag_alone_lets_speed_decay(self):
        body = at_rest()._replace(velocity=command(8, 0, -4))
        body = fly(drone(drag=0.5), body, command(0, 0, 0), 20)
        assert body.velocity.flatten().tolist() == pytest.approx([8 / math.e, 0, -4 / math.e], rel=1e-5)

    @pytest.mark.parametrize("substeps", [1, 2, 5])
    def test_motor_answers_exponentially(self, substeps):
        dynamics = drone(motor_lag=0.5, substeps=substeps)
        body = at_rest()
        for step in range(1, 21):
            body = dynamics.step(body, command(0, 1, 0), None)
            expected = 12 * (1 - math.exp(-step * 0.1 / 0.5))
            assert body.acceleration[0, 0, 1].item() == pytest.approx(expected, rel=1e-5)

    def test_one_time_constant_is_63_percent(self):
        body = fly(drone(motor_lag=0.2, dt=0.2), at_rest(), command(1, 0, 0), 1)
        assert body.acceleration[0, 0, 0].item() == pytest.approx(12 * 0.6321206, rel=1e-6)

    def test_motor_without_lag_answers_at_once(self):
        body = drone().step(at_rest(), command(0.25, 0, 0), None)
        assert body.acceleration.flatten().tolist() == [3, 0, 0]

    def test_motor_winds_down_too(self):
        body = at_rest()._replace(acceleration=command(12, 0, 0))
        body = drone(motor_lag=0.1).step(body, command(0, 0, 0), None)
        assert body.acceleration[0, 0, 0].item() == pytest.approx(12 / math.e, rel=1e-5)

    @pytest.mark.parametrize("substeps", [1, 4])
    def test_constant_acceleration(self, substeps):
        body = fly(drone(substeps=substeps), at_rest(), command(0.5, 0, -0.25), 30)
        t = 3.0
        assert body.velocity.flatten().tolist() == pytest.approx([6 * t, 0, -3 * t], rel=1e-5)
        assert body.position.flatten().tolist() == pytest.approx([3 * t * t, 0, -1.5 * t * t], rel=1e-5)

    def test_position_under_drag_is_of_second_order(self):
        # p = (a / k) (t - (1 - exp(-k t)) / k): halving the sub-step must quarter the error.
        k, t = 0.8, 2.0
        exact = 12 / k * (t - (1 - math.exp(-k * t)) / k)
        errors = []
        for substeps in (1, 2, 4, 8):
            body = drone(dt=t, drag=k, substeps=substeps).step(at_rest(), command(1, 0, 0), None)
            errors.append(abs(body.position[0, 0, 0].item() - exact))
        ratios = [coarse / fine for coarse, fine in itertools.pairwise(errors)]
        assert ratios == pytest.approx([4, 4, 4], rel=0.1)
        assert errors[-1] < 0.01 * exact

    def test_speed_is_limited(self):
        dynamics = drone(max_speed=15.0, drag=0.1)
        body = at_rest()
        for _ in range(50):
            body = dynamics.step(body, command(1, 1, 1), None)
            assert torch.linalg.vector_norm(body.velocity).item() <= 15.0 * (1 + 1e-6)
        assert body.velocity.flatten().tolist() == pytest.approx([15 / math.sqrt(3)] * 3, rel=1e-5)
        assert dynamics.speed_limit == 15.0

    def test_no_step_is_longer_than_the_speed_limit_allows(self):
        dynamics = drone(max_speed=15.0, drag=0.1)
        body = fly(dynamics, at_rest(), command(1, 0, 0), 50)
        further = dynamics.step(body, command(1, 0, 0), None)
        way = torch.linalg.vector_norm(further.position - body.position).item()
        assert way == pytest.approx(1.5, rel=1e-5)

    def test_commanded_acceleration_is_limited_in_length(self):
        dynamics = drone()
        body = dynamics.step(at_rest(), command(1, 1, 1), None)
        assert body.acceleration.flatten().tolist() == pytest.approx([12 / math.sqrt(3)] * 3, rel=1e-6)
        within = dynamics.step(at_rest(), command(0.3, -0.2, 0.1), None)
        assert within.acceleration.flatten().tolist() == pytest.approx([3.6, -2.4, 1.2], rel=1e-6)
        assert dynamics.acceleration_limit == 12.0

    @pytest.mark.parametrize("substeps", [1, 2, 6])
    def test_wind_takes_a_drone_along(self, substeps):
        wind = command(3, 0, -2)
        dynamics = drone(drag=0.5, substeps=substeps)
        body = fly(dynamics, at_rest(), command(0, 0, 0), 20, wind)
        share = 1 - math.exp(-1)
        assert body.velocity.flatten().tolist() == pytest.approx([3 * share, 0, -2 * share], rel=1e-5)
        body = fly(dynamics, body, command(0, 0, 0), 600, wind)
        assert body.velocity.flatten().tolist() == pytest.approx([3, 0, -2], rel=1e-5)

    def test_wind_has_no_hold_without_drag(self):
        body = drone().step(at_rest(), command(0, 0, 0), command(5, 5, 5))
        assert body.velocity.flatten().tolist() == [0, 0, 0]

    def test_terminal_speed_is_relative_to_the_air(self):
        body = fly(drone(drag=0.3), at_rest(), command(0.5, 0, 0), 600, command(-4, 0, 0))
        assert body.velocity[0, 0, 0].item() == pytest.approx(6 / 0.3 - 4, rel=1e-5)

    def test_the_plane_works_like_space(self):
        dynamics = drone(drag=0.3, motor_lag=0.15, max_speed=15.0)
        flat = fly(dynamics, at_rest(dimensions=2), command(0.8, -0.3), 25)
        deep = fly(dynamics, at_rest(), command(0.8, -0.3, 0), 25)
        assert torch.allclose(flat.position, deep.position[..., :2], rtol=1e-6)
        assert torch.allclose(flat.velocity, deep.velocity[..., :2], rtol=1e-6)

    def test_pursuers_do_not_disturb_each_other(self):
        dynamics = drone(drag=0.3, motor_lag=0.15, max_speed=15.0)
        u = torch.linspace(-1, 1, 4 * 3 * 3).view(4, 3, 3)
        together = fly(dynamics, at_rest(4, 3), u, 10)
        alone = fly(dynamics, at_rest(), u[2:3, 1:2], 10)
        assert torch.equal(together.position[2:3, 1:2], alone.position)

    def test_arguments_are_left_alone(self):
        body = Body(command(1, 2, 3), command(4, 5, 6), command(7, 8, 9))
        u, wind = command(1, -1, 1), command(2, 2, 2)
        drone(drag=0.3, motor_lag=0.15, max_speed=5.0).step(body, u, wind)
        kept = [tensor.flatten().tolist() for tensor in (*body, u, wind)]
        assert kept == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [1, -1, 1], [2, 2, 2]]


class TestGust:
    def test_it_fades_exponentially(self):
        w = gust(torch.tensor([[2.0, -1.0]]), torch.zeros(1, 2), speed=5.0, time_constant=0.7, dt=0.7)
        assert w.flatten().tolist() == pytest.approx([2 / math.e, -1 / math.e], rel=1e-6)

    def test_it_starts_from_noise(self):
        w = gust(torch.zeros(1, 2), torch.tensor([[1.0, -2.0]]), speed=5.0, time_constant=1.0, dt=0.5)
        scale = 5 * math.sqrt(1 - math.exp(-1))
        assert w.flatten().tolist() == pytest.approx([scale, -2 * scale], rel=1e-6)

    @pytest.mark.parametrize("start", [0.0, 3.0], ids=["from calm", "from weather"])
    def test_its_deviation_is_stationary(self, start):
        worlds, speed = 5000, 3.0
        key = noise.world_keys(0, worlds)
        first = start * noise.normal(key, torch.zeros_like(key), Stream.WIND, 3)
        w = first
        for step in range(1, 31):
            draw = noise.normal(key, torch.full_like(key, step), Stream.WIND, 3)
            w = gust(w, draw, speed=speed, time_constant=0.5, dt=0.1)
            if step == 5 and start:
                # After one time constant a gust still is 1/e of itself.
                correlation = (first * w).mean().item() / speed**2
                assert correlation == pytest.approx(1 / math.e, abs=4 / math.sqrt(3 * worlds))
        assert w.mean().item() == pytest.approx(0, abs=4 * speed / math.sqrt(3 * worlds))
        assert w.var().item() == pytest.approx(speed**2, rel=4 * math.sqrt(2 / (3 * worlds)))
        assert torch.corrcoef(w.T).fill_diagonal_(0).abs().max().item() < 4 / math.sqrt(worlds)
