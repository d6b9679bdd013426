"""Hybrid GRPO with the habits of Stable-Baselines3: wrap, train with callbacks, save, load, train on.

python examples/sb3_habits.py --steps 4096 --out runs/habits
"""

import argparse
from pathlib import Path

import torch
from stable_baselines3.common.callbacks import CheckpointCallback, EvalCallback, StopTrainingOnRewardThreshold
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from rl_tracking import HybridGRPO


def cartpole(steps: int, out: Path) -> None:
    """Discrete actions, with the callbacks that PPO takes."""
    env = make_vec_env("CartPole-v1", n_envs=4, seed=0)
    callbacks = [
        EvalCallback(
            make_vec_env("CartPole-v1", n_envs=1, seed=100),
            callback_on_new_best=StopTrainingOnRewardThreshold(475.0),
            eval_freq=max(steps // 16, 1),
            best_model_save_path=str(out),
            verbose=0,
        ),
        CheckpointCallback(max(steps // 8, 1), str(out / "models")),
    ]
    # Arguments that are not given come from the recipe for Gymnasium environments with discrete actions.
    model = HybridGRPO("MlpPolicy", env, n_steps=128, seed=0)
    model.learn(steps, callback=callbacks)
    report("CartPole-v1", model, make_vec_env("CartPole-v1", n_envs=1, seed=200))


def pendulum(steps: int, out: Path) -> None:
    """Continuous actions, normalised, with gSDE; saved with its moments, loaded and trained on."""
    env = VecNormalize(make_vec_env("Pendulum-v1", n_envs=4, seed=0), gamma=0.9)
    model = HybridGRPO(
        "MlpPolicy", env, n_steps=128, batch_size=128, gamma=0.9, n_samples=4, use_sde=True, sde_sample_freq=4, seed=0
    )
    model.learn(steps // 2)
    model.save(out / "pendulum")
    env.save(str(out / "pendulum.pkl"))

    env = VecNormalize.load(str(out / "pendulum.pkl"), make_vec_env("Pendulum-v1", n_envs=4, seed=1))
    model = HybridGRPO.load(out / "pendulum", env=env)
    model.learn(steps // 2, reset_num_timesteps=False)

    # Evaluate with the fixed moments of the training env and with rewards that are not normalised.
    env.save(str(out / "pendulum.pkl"))
    measured = VecNormalize.load(str(out / "pendulum.pkl"), make_vec_env("Pendulum-v1", n_envs=1, seed=2))
    measured.training = measured.norm_reward = False
    report("Pendulum-v1", model, measured)


def report(name: str, model: HybridGRPO, env: VecEnv) -> None:
    mean, deviation = evaluate_policy(model, env, n_eval_episodes=5)
    print(f"{name:12} {model.num_timesteps:8} steps   return {mean:8.1f} +- {deviation:.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train on CartPole-v1 and Pendulum-v1 as with Stable-Baselines3.")
    parser.add_argument("--steps", type=int, default=4096, help="macro-steps on each environment, all worlds together")
    parser.add_argument("--out", type=Path, default=Path("runs/habits"), help="folder for the saved files")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # networks this small are slower on several
    cartpole(arguments.steps, arguments.out)
    pendulum(arguments.steps, arguments.out)
