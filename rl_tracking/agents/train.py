"""Training as one function, for the command line and for scripts."""

from __future__ import annotations

import dataclasses
import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import tomli_w
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import CSVOutputFormat, Logger, TensorBoardOutputFormat
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.utils import safe_mean
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from rl_tracking import files, plugins
from rl_tracking.agents import checkpoint, crash, failures
from rl_tracking.agents.actions import check_action_space
from rl_tracking.agents.devices import check_device
from rl_tracking.agents.evaluate import DEFAULT_EPISODES, EVALUATION_SEED, evaluate, load_pilot
from rl_tracking.agents.evaluate_env import evaluate_env, load_env_pilot
from rl_tracking.agents.group_policy import GroupPolicyAlgorithm
from rl_tracking.agents.settings import Settings
from rl_tracking.envs.adapters import RestorableGymVecEnv
from rl_tracking.envs.restorable import NotRestorableError
from rl_tracking.envs.task import Task
from rl_tracking.envs.vec_env import make_scenario, make_vec
from rl_tracking.errors import RunError, StepError, UsageError

BASELINES = ("random", "pure-pursuit", "lead-pursuit")
ENV_BASELINES = ("random",)
ENV_EPISODES = 20  # of the closing evaluation at most: a Gymnasium environment takes its steps one by one
_SAVE_EVERY = 10.0  # seconds between checkpoints of a run in progress


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a run is; rates are of the whole run, figures of the latest episodes (NaN before the first ends)."""

    macro_steps: int
    simulator_steps: int
    total: int
    seconds: float
    capture_rate: float
    time_in_radius: float
    episode_return: float

    @property
    def macro_steps_per_second(self) -> float:
        """Decisions a second."""
        return self.macro_steps / max(self.seconds, 1e-9)

    @property
    def seconds_left(self) -> float:
        """At the present rate."""
        return max(0.0, self.total - self.macro_steps) / max(self.macro_steps_per_second, 1e-9)


@dataclasses.dataclass(frozen=True)
class Result:
    """A finished or interrupted run.

    Attributes:
        out: the run's folder.
        path: its checkpoint.
        interrupted: it was told to stop.
        seconds: of training.
        macro_steps: decisions made.
        simulator_steps: steps simulated, all branches counted.
        evaluations: of the policy and of the baselines over the same episodes; empty if interrupted.
    """

    out: Path
    path: Path
    interrupted: bool
    seconds: float
    macro_steps: int
    simulator_steps: int
    evaluations: list[dict[str, Any]]


def build(settings: Settings) -> BaseAlgorithm:
    """The algorithm on its worlds, untrained."""
    check_device(settings.device)
    algorithm = plugins.resolve("algo", settings.algo)
    env = _worlds(settings, must_restore=issubclass(algorithm, GroupPolicyAlgorithm))
    if settings.normalize:
        env = VecNormalize(env, gamma=settings.arguments.get("gamma", 0.99))
    check_action_space(env.action_space)
    policy = policy_for(env.observation_space)
    try:
        with warnings.catch_warnings():
            # A last minibatch that is smaller than the others is no matter.
            warnings.filterwarnings("ignore", message="You have specified a mini-batch size")
            model: BaseAlgorithm = algorithm(
                policy, env, seed=settings.seed, device=settings.device, **settings.constructor_arguments()
            )
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{settings.algo} refuses its arguments: {' '.join(str(error).split())}") from error
    return model


def _worlds(settings: Settings, *, must_restore: bool) -> VecEnv:
    if settings.env:
        return Task(settings.env, settings.parameters).worlds(
            settings.num_envs, settings.seed, must_restore=must_restore
        )
    return make_vec(
        settings.scenario,
        settings.num_envs,
        seed=settings.seed,
        device=settings.device,
        **settings.parameters,
    )


def policy_for(space: spaces.Space[Any]) -> str:
    """SB3's name of the policy that reads such observations."""
    if isinstance(space, spaces.Dict):
        return "MultiInputPolicy"
    return "CnnPolicy" if is_image_space(space) else "MlpPolicy"


def train(
    settings: Settings,
    out: Path,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    episodes: int = DEFAULT_EPISODES,
) -> Result:
    """Train, write the run's folder, and measure the policy beside the baselines.

    Args:
        settings: what to train on what.
        out: the folder: ``checkpoint.zip``, ``config.toml``, ``metrics.csv``, TensorBoard events.
        on_progress: called after every rollout.
        should_stop: asked at every macro-step; when it says yes, the run is saved and ends.
        episodes: of the closing evaluation.

    Raises:
        UsageError: the folder holds a run already, or the settings are refused.
        RunError: the training failed; the last good checkpoint is kept, and without one nothing but a crash file, which
            ``rltrack replay`` reads, is left behind.
    """
    _refuse_occupied(out)
    torch.set_num_threads(settings.threads)
    model = build(settings)
    path = out / "checkpoint.zip"
    callback = _RunCallback(settings.steps, path, on_progress, should_stop)
    with _folder(out, path):
        files.write_text(out / "config.toml", tomli_w.dumps(settings.to_dict()))
        model.set_logger(_logger(out))
        try:
            with _failing_in_one_line(model, out):
                model.learn(settings.steps, callback=callback)
                failures.check_model(model)
        finally:
            model.logger.dump(model.num_timesteps)  # SB3 writes before each update, so the last one is still to come
            model.logger.close()
        checkpoint.save(model, path)
    seconds = callback.seconds
    evaluations: list[dict[str, Any]] = []
    if not callback.stopped:
        evaluations = compare(str(path), settings, episodes)
        checkpoint.save(model, path, metrics=_plain(evaluations[0]))
    steps = model.num_timesteps
    return Result(
        out, path, callback.stopped, seconds, steps, getattr(model, "num_simulator_steps", steps), evaluations
    )


@contextmanager
def _failing_in_one_line(model: BaseAlgorithm, out: Path) -> Iterator[None]:
    """Say of a failure when it was, what is kept of it, and which checkpoint is whole."""
    try:
        yield
    except StepError as error:
        if "macro_step" not in error.places:
            error.locate(macro_step=model.num_timesteps)
        replay = crash.keep(error, model, out)
        if replay is not None:
            error.kept.append(f"`{replay}` makes the step again")
        _with_checkpoint(error, out)
        raise
    except (UsageError, RunError) as error:
        _with_checkpoint(error, out)
        raise
    except ValueError as error:
        rate = float(model.policy.optimizer.param_groups[0]["lr"])
        cause = failures.behind(
            error, model.policy, failures.last_observation(model), macro_step=model.num_timesteps, rate=rate
        )
        if cause is error:
            raise
        raise _with_checkpoint(cause, out) from error


def _with_checkpoint(error: Exception, out: Path) -> Exception:
    """An error that also says which checkpoint is whole."""
    if isinstance(error, StepError):
        error.kept.append(failures.whole_checkpoint(out))
    else:
        error.args = (f"{error}; {failures.whole_checkpoint(out)}",)
    return error


def compare(spec: str, settings: Settings, episodes: int) -> list[dict[str, Any]]:
    """Evaluations of a pilot and of the baselines over the same episodes."""
    if settings.env:
        task = Task(settings.env, settings.parameters)
        pilots = [load_env_pilot(name, task) for name in (spec, *ENV_BASELINES)]
        return [evaluate_env(pilot, min(episodes, ENV_EPISODES), task, seed=EVALUATION_SEED) for pilot in pilots]
    scenario = make_scenario(settings.scenario, **settings.parameters)
    return [evaluate(load_pilot(name, scenario)[0], episodes, scenario=scenario) for name in (spec, *BASELINES)]


def run_folder(settings: Settings, runs: Path = Path("runs")) -> Path:
    """A folder that does not exist yet, named after the run."""
    preset = "" if settings.env else settings.parameters.get("preset", "")
    where = settings.scenario or settings.env.replace("/", "-").replace(":", "-")
    name = "-".join(part for part in (where, preset, settings.algo, f"seed{settings.seed}") if part)
    candidate, number = runs / name, 2
    while candidate.exists():
        candidate, number = runs / f"{name}-{number}", number + 1
    return candidate


def _refuse_occupied(out: Path) -> None:
    if out.is_file():
        raise UsageError(f"--out '{out}' is a file; give a folder that does not exist yet or is empty")
    if out.is_dir() and any(not file.match("crash-*.zip") for file in out.iterdir()):
        raise UsageError(f"--out '{out}' is not empty; give a folder that does not exist yet or is empty")


@contextmanager
def _folder(out: Path, path: Path) -> Iterator[None]:
    """The folder of a run; one that fails before its first checkpoint ``path`` leaves nothing of it behind."""
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if not path.exists():
            for pattern in ("config.toml", "metrics.csv", "events.out.tfevents.*"):
                for file in out.glob(pattern):
                    file.unlink()
            if made:
                with suppress(OSError):
                    out.rmdir()
        raise


def _logger(out: Path) -> Logger:
    return Logger(str(out), [CSVOutputFormat(str(out / "metrics.csv")), TensorBoardOutputFormat(str(out))])


def _plain(evaluation: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in evaluation.items()
        if name not in ("policy", "scenario", "preset", "env", "parameters")
    }


def _remember(model: BaseAlgorithm) -> None:
    """Have restorable worlds remember where a rollout began; so a step that fails in it can be made again."""
    env: Any = model.env.unwrapped if model.env is not None else None
    if isinstance(env, RestorableGymVecEnv):
        with suppress(NotRestorableError):
            env.get_state()


class _RunCallback(BaseCallback):
    """Reports progress, saves now and then, and stops when told to."""

    def __init__(
        self,
        total: int,
        path: Path,
        on_progress: Callable[[Progress], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        super().__init__()
        self.stopped = False
        self.seconds = 0.0
        self._total, self._path = total, path
        self._on_progress, self._should_stop = on_progress, should_stop

    def _on_training_start(self) -> None:
        self._started = self._saved = time.perf_counter()

    def _on_step(self) -> bool:
        self.stopped = self._should_stop is not None and self._should_stop()
        return not self.stopped

    def _on_rollout_start(self) -> None:
        failures.check_model(self.model)
        _remember(self.model)
        # Here the latest update is complete and no rollout has begun: the place to save.
        now = time.perf_counter()
        if now - self._saved > _SAVE_EVERY:
            checkpoint.save(self.model, self._path)
            self._saved = now

    def _on_rollout_end(self) -> None:
        self.seconds = time.perf_counter() - self._started
        if self._on_progress is not None:
            self._on_progress(self._progress())

    def _on_training_end(self) -> None:
        self.seconds = time.perf_counter() - self._started

    def _progress(self) -> Progress:
        model = self.model
        episodes = list(model.ep_info_buffer or [])
        successes = list(model.ep_success_buffer or [])
        inside = [float(item["time_in_radius"]) for item in episodes if "time_in_radius" in item]
        return Progress(
            macro_steps=model.num_timesteps,
            simulator_steps=getattr(model, "num_simulator_steps", model.num_timesteps),
            total=self._total,
            seconds=self.seconds,
            capture_rate=float(safe_mean(successes)) if successes else math.nan,
            time_in_radius=float(safe_mean(inside)) if inside else math.nan,
            episode_return=float(safe_mean([item["r"] for item in episodes])) if episodes else math.nan,
        )
