"""Check an environment, then train, save, load and evaluate an agent from Python.

python examples/train_without_cli.py --steps 200000 --out checkpoint.zip
"""

import argparse

import rl_tracking


def main(steps: int, out: str) -> None:
    # Hybrid GRPO tries actions from saved states, so worlds must be restored exactly. This checks it:
    print(rl_tracking.check_restorable("rl_tracking/Pursuit-v0"))

    # A Stable-Baselines3 VecEnv of 16 worlds; any parameter of the scenario can be given by name.
    env = rl_tracking.make_vec("pursuit", num_envs=16, seed=0, target_speed=5.0)

    # Arguments that are not given come from the recipe of the scenario's preset, as in `rltrack train`.
    model = rl_tracking.HybridGRPO("MlpPolicy", env, n_samples=4, seed=0)
    model.learn(steps)
    model.save(out)

    # The file names the task that it was trained on. Reading it opens no pickle.
    policy = rl_tracking.load_policy(out)
    for name, figure in rl_tracking.evaluate(policy, episodes=100).items():
        print(f"{name:16} {figure['value'] if isinstance(figure, dict) else figure}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train an agent without the command line.")
    parser.add_argument("--steps", type=int, default=30_000, help="decisions of all worlds together")
    parser.add_argument("--out", default="checkpoint.zip", help="where to save it")
    arguments = parser.parse_args()
    main(arguments.steps, arguments.out)
