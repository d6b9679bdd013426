import pytest
import torch

from rl_tracking.envs.noise import next_episode, world_keys
from rl_tracking.envs.scenarios.pursuit.scenario import make_pursuit
from rl_tracking.envs.simulator import Simulator
from tests.helpers import step_of

WINDY = {"wind_speed": 2.0, "pursuers": 2, "max_steps": 5}


def simulator(**parameters):
    return Simulator(make_pursuit(**parameters))


def actions(worlds, size, seed=0, scale=1.0):
    return (torch.rand(worlds, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1) * scale


@pytest.mark.parametrize("parameters", [WINDY, {"preset": "sandbox"}], ids=["drone", "sandbox"])
def test_a_transition_is_pure(parameters):
    sim = simulator(**parameters)
    state = sim.initial(world_keys(0, 6))
    action = actions(6, sim.action_shape[0], scale=2.0)
    kept, kept_action = state.to_bytes(), action.clone()
    first = sim.transition(state, action)
    again = sim.transition(state, action)
    assert state.to_bytes() == kept
    assert torch.equal(action, kept_action)
    assert first.after.equal(again.after)
    assert torch.equal(first.observation, again.observation)
    assert torch.equal(first.reward, again.reward)
    # What came before and in between makes no difference either.
    sim.transition(first.after, action)
    sim.restart(first.after)
    assert sim.transition(state, action).after.equal(first.after)
    assert first.before is state


def test_nothing_it_returns_can_change_the_state():
    sim = simulator(preset="sandbox")
    state = sim.initial(world_keys(0, 3))
    transition = sim.transition(state, actions(3, 3))
    kept = state.to_bytes(), transition.after.to_bytes()
    for tensor in (transition.reward, *transition.terms.values()):  # an observation may be a view of the state
        tensor.fill_(7.0)
    assert (state.to_bytes(), transition.after.to_bytes()) == kept


def test_actions_are_clipped():
    sim = simulator()
    state = sim.initial(world_keys(0, 4))
    wild = actions(4, 3, scale=10.0)
    assert (wild.abs() > 1).any()
    transition = sim.transition(state, wild)
    assert torch.equal(transition.action, wild.clamp(-1, 1))
    assert torch.equal(transition.after.action, wild.clamp(-1, 1).view(4, 1, 3))
    assert transition.after.equal(sim.transition(state, wild.clamp(-1, 1)).after)


@pytest.mark.parametrize("shape", [(4, 2), (3, 3), (4,), (4, 1, 3), (0, 3)])
def test_actions_of_another_shape(shape):
    sim = simulator()
    with pytest.raises(ValueError, match=r"expected \[4, 3\]"):
        sim.transition(sim.initial(world_keys(0, 4)), torch.zeros(shape))


def test_size_of_an_action():
    assert simulator().action_shape == (3,)
    assert simulator(pursuers=3).action_shape == (9,)
    assert simulator(pursuers=3, dimensions=2).action_shape == (6,)


def test_start():
    sim = simulator()
    keys = world_keys(0, 4)
    state = sim.initial(keys)
    assert torch.equal(state.key, keys)
    for name in ("step", "episode", "episode_return", "velocity", "acceleration", "action"):
        assert (getattr(state, name) == 0).all()
    assert sim.initial(keys, torch.arange(4)).episode.tolist() == [0, 1, 2, 3]
    assert sim.initial(keys[2:3]).equal(state[2])


def test_it_counts_steps_returns_and_time_in_the_radius():
    sim = simulator(spawn="at-target", motion="stationary", reward="sparse", dynamics="kinematic", step_length=1.5)
    state = sim.initial(world_keys(0, 2))
    away, stay = torch.tensor([[1.0, 0, 0], [0, 0, 0]]), torch.zeros(2, 3)
    for action in (stay, away, away, stay):
        state = sim.transition(state, action).after
    # The first world is 0, 1.5, 3 and 3 m from the target, the capture radius is 2 m.
    assert sim.metrics(state)["time_in_radius"].tolist() == [0.5, 1.0]
    assert state.episode_return.tolist() == [2.0, 4.0]
    assert state.step.tolist() == [4, 4]


def test_a_restart_is_the_next_episode():
    sim = simulator(**WINDY)
    state = sim.initial(world_keys(0, 4))
    for _ in range(3):
        state = sim.transition(state, actions(4, 6)).after
    again = sim.restart(state)
    assert again.step.tolist() == [0] * 4
    assert again.episode.tolist() == [1] * 4
    assert again.episode_return.tolist() == [0] * 4
    assert torch.equal(again.key, next_episode(state.key))
    assert not torch.equal(again.position, sim.initial(state.key).position)
    # How the episode went has no influence on the next one.
    assert again.equal(sim.restart(sim.initial(world_keys(0, 4))))


def test_done_is_either_end():
    sim = simulator(capture_terminates=True, motion="stationary", spawn="near", spawn_radius=3.0, max_steps=1)
    transition = sim.transition(sim.initial(world_keys(0, 64)), torch.zeros(64, 3))
    assert transition.terminated.any()
    assert transition.truncated.any()
    assert not (transition.terminated & transition.truncated).any()
    assert torch.equal(transition.done, transition.terminated | transition.truncated)
    assert torch.equal(transition.terminated, transition.measures["distance"] <= 2.0)


def test_distances_of_a_transition():
    sim = simulator(pursuers=2)
    transition = sim.transition(sim.initial(world_keys(0, 8)), actions(8, 6))
    expected = (transition.after.position - transition.after.target_position.unsqueeze(1)).square().sum(-1).sqrt()
    step = step_of(sim, transition)
    assert torch.allclose(step.distance, expected, rtol=1e-5)
    assert torch.equal(transition.measures["distance"], step.distance.amin(dim=1))
    before = (transition.before.position - transition.before.target_position.unsqueeze(1)).square().sum(-1).sqrt()
    assert torch.allclose(step.distance_before, before, rtol=1e-5)


@pytest.mark.parametrize("preset", ["drone", "sandbox"])
@torch.no_grad()
def test_a_step_from_a_state_that_knows_its_distances_is_that_from_a_copy(preset):
    sim = simulator(preset=preset, pursuers=2)
    state = sim.initial(world_keys(4, 5))
    action = actions(5, sim.action_shape[0])
    for _ in range(3):
        state = sim.transition(state, action).after
    plain = state.map(torch.clone)
    assert bool(state.derived) == (preset == "drone"), "what this test is about"
    assert plain.derived == {}
    one, other = sim.transition(state, action), sim.transition(plain, action)
    assert one.after.differences(other.after) == []
    assert torch.equal(one.reward, other.reward)
    moved = state.replace(target_position=state.target_position + 1.0)
    assert not torch.equal(sim.step(moved, action).distance_before, sim.step(state, action).distance_before)


def test_a_gradient_runs_through_a_step_from_a_state_of_inference_mode():
    sim = simulator(capture_radius=10.0)
    with torch.inference_mode():
        state = sim.initial(world_keys(4, 5))
        for _ in range(2):
            state = sim.transition(state, actions(5, 3)).after
        assert state.derived, "what this test is about"
    action = actions(5, 3, scale=0.5).requires_grad_()
    sim.transition(state, action).reward.sum().backward()
    assert (action.grad != 0).any(dim=-1).all()
