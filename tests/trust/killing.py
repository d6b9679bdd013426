"""Trains, and saves, in processes that are killed at random moments; run by ``test_kill`` as a process of its own.

``python killing.py COUNT FOLDER`` prints one JSON object. The processes are forked from this one,
so that they need not import anything.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import torch

from rl_tracking import files
from rl_tracking.errors import UsageError
from rl_tracking.runs import callback as run_callback
from rl_tracking.runs import train as training
from rl_tracking.runs.folder import RunFolder, read_boundary
from rl_tracking.runs.settings import resolve
from tests.helpers import wait_for
from tests.trust.weights_hash import weights_hash

ROLLOUTS = 8
SETTINGS = resolve(
    given={"steps": ROLLOUTS * 64},
    pairs="num_envs=4 n_steps=16 net_arch=[16] batch_size=64 n_epochs=2 max_steps=10 wind_speed=2.0 n_samples=3 "
    "horizon=1 normalize=true".split(),
)


def forked(work):
    """The process id of a child that does ``work`` and ends."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def killed(work, seconds, begun=lambda: True):
    """Whether a child was killed before it was done with ``work``, some seconds after it had begun."""
    child = forked(work)
    wait_for(begun)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def train(folder):
    training.train(SETTINGS, folder)


def save_again_and_again(folder):
    """Saves the run's model without a pause, as the callback does."""
    run, model = RunFolder(folder), training.build(SETTINGS)
    path, boundary, _ = run.newest_intact()
    training.restore_model(model, boundary, path)
    while True:
        run.save(model, boundary, score=random.random())


def left_behind(folder):
    return [file.name for file in folder.iterdir() if file.name.startswith(".")]


def checked(folder):
    """What is there after a kill, and after the run went on to its end."""
    found = {"had": None, "hash": None, "left": None}
    try:
        _, boundary, wrong = RunFolder(folder).newest_intact()
    except UsageError as error:
        return {**found, "refused": str(error)}
    found |= {"had": boundary.macro_steps, "wrong": wrong}
    for name in ("checkpoint-previous-1.zip", "checkpoint-previous-2.zip", "best.zip"):
        if (folder / name).exists():
            read_boundary(folder / name)
    if boundary.macro_steps < SETTINGS.steps:
        training.resume(folder)
    else:  # killed after the last update: the next save is of what is there
        model = training.build(SETTINGS)
        training.restore_model(model, boundary, folder / "checkpoint.zip")
        RunFolder(folder).save_metrics(model, boundary, {})
    return found | {"hash": weights_hash(folder / "checkpoint.zip"), "left": left_behind(folder)}


def in_training(generator, folder, seconds):
    while not killed(lambda: train(folder), generator.uniform(0.0, seconds)):
        shutil.rmtree(folder)  # it was done by then
    return checked(folder) if folder.exists() else {"had": None, "refused": "no folder yet"}


def in_a_save(generator, folder, started):
    shutil.copytree(started, folder)
    killed(lambda: save_again_and_again(folder), generator.uniform(0.0, 0.5), begun=lambda: left_behind(folder))
    before = len(left_behind(folder))
    return checked(folder) | {"before": before}


def main(count, place):
    torch.set_num_threads(1)
    run_callback._SAVE_EVERY = 0.0
    training.compare = lambda *given: [{"policy": "HybridGRPO"}]
    generator, place = random.Random(1), Path(place)
    if count < 20:
        files.sync = lambda path: None  # a kill takes nothing from the system's own buffers; a power cut would
    train(place / "straight")
    begun = time.monotonic()
    os.waitpid(forked(lambda: train(place / "timed")), 0)
    seconds = time.monotonic() - begun
    asked = []
    training.train(SETTINGS, place / "started", should_stop=lambda: asked.append(1) or len(asked) > ROLLOUTS // 2 * 16)
    found = {"straight": weights_hash(place / "straight" / "checkpoint.zip"), "training": [], "saving": []}
    folder = place / "run"
    for _ in range(count):
        found["training"].append(in_training(generator, folder, seconds))
        shutil.rmtree(folder, ignore_errors=True)
        found["saving"].append(in_a_save(generator, folder, place / "started"))
        shutil.rmtree(folder)
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
