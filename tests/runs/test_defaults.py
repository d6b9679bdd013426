import pytest

from rl_tracking.runs import settings
from rl_tracking.runs.defaults import defaults, env_defaults


@pytest.mark.parametrize("preset", ["drone", "sandbox"])
@pytest.mark.parametrize("algo", ["hybrid-grpo", "ppo"])
def test_every_default_is_an_argument_of_its_algorithm(algo, preset):
    chosen = defaults(algo, preset, "tracking")
    assert set(chosen.arguments) <= set(settings.arguments_of(algo))
    # Whole minibatches, and a budget of whole rollouts' order.
    samples = chosen.arguments["n_samples"] if chosen.arguments.get("horizon", 1) > 1 else 1
    assert samples * chosen.num_envs * chosen.arguments["n_steps"] % chosen.arguments["batch_size"] == 0
    assert chosen.steps > 4 * chosen.num_envs * chosen.arguments["n_steps"]


def test_a_preset_of_a_plugin_gets_those_of_the_drone():
    assert defaults("hybrid-grpo", "my own", "tracking") == defaults("hybrid-grpo", "drone", "tracking")


def test_asking_for_one_does_not_change_another():
    before = defaults("hybrid-grpo", "drone", "tracking")
    defaults("hybrid-grpo", "drone", "complex").arguments["gamma"] = 0.0
    assert "reward_scale" in defaults("hybrid-grpo", "sandbox", "complex").arguments
    assert defaults("hybrid-grpo", "drone", "tracking") == before


def test_a_reward_that_reaches_2000_is_brought_to_the_size_of_tanh():
    assert 0.1 < 2000 * defaults("hybrid-grpo", "sandbox", "complex").arguments["reward_scale"] < 4


@pytest.mark.parametrize("max_steps", [5, 500, None])
@pytest.mark.parametrize("algo", ["hybrid-grpo", "grpo", "ppo", "trpo", "reinforce"])
@pytest.mark.parametrize("continuous", [False, True])
def test_defaults_in_gymnasium_heed_the_time_limit(algo, max_steps, continuous):
    chosen = env_defaults(algo, max_steps, continuous=continuous)
    assert set(chosen.arguments) <= set(settings.arguments_of(algo))
    if max_steps is not None:
        assert chosen.arguments.get("horizon", 1) <= max_steps
        assert algo != "reinforce" or chosen.arguments["n_steps"] >= max_steps
    # Tanh, which is right for the rewards of pursuit, would flatten others.
    assert chosen.arguments.get("reward_activation", "identity") == "identity"
