"""The outcome for an awkward environment, found without the adapter: by brute force, and by training on it.

``python -m tests.trust.judging`` prints the table of all of them.
"""

import os
import sys
import warnings

import numpy as np

from rl_tracking import HybridGRPO
from rl_tracking.adapters.build import RestorableGymVecEnv
from rl_tracking.errors import RunError, UsageError
from tests.agents.toys import PLAIN
from tests.trust.awkward import CASES, EXACT, LATE, REFUSED, STOPPED

WRONG = "SILENTLY WRONG"
WORLDS = 2


def numbers(result):
    """All of a step that a policy learns from."""
    observation, reward, done, infos = result
    cut = [info.get("TimeLimit.truncated", False) for info in infos]
    last = [np.asarray(info["terminal_observation"]).tobytes() for info in infos if "terminal_observation" in info]
    return observation.tobytes(), reward.tobytes(), done.tobytes(), cut, last


def mismatch(make, late, adapter=RestorableGymVecEnv):
    """The step at which a restored sibling leaves the world that just goes on; None if it never does.

    The world is saved now and then along several episodes, and is itself never restored. From each of these states a
    sibling, which other steps have led astray, has to follow the world for the steps that the world then made.
    """
    env = adapter(make, WORLDS, seed=5)
    env.reset()
    sibling, astray = env.spawn(WORLDS), env.spawn(WORLDS)
    rng = np.random.default_rng(0)
    space = env.action_space
    space.seed(1)
    steps = 2 * LATE + 120 if late else 130
    actions = [np.stack([space.sample() for _ in range(WORLDS)]) for _ in range(steps)]
    follow = 60 if late else 45
    saved, taken = {}, []
    for step, action in enumerate(actions):
        if step % 23 == 0:
            saved[step] = env.get_state()
        if rng.random() < 0.1:
            astray.set_state(env.get_state())
            astray.step(action)
        taken.append(numbers(env.step(action)))
    for start, states in saved.items():
        sibling.step(actions[0]) if start else sibling.reset()
        sibling.set_state(states)
        for step in range(start, min(start + follow, steps)):
            if numbers(sibling.step(actions[step])) != taken[step]:
                return step
    for each in (env, sibling, astray):
        each.close()
    return None


def train(make, late):
    """A short training on it."""
    env = RestorableGymVecEnv(make, 1, seed=0)
    model = HybridGRPO("MlpPolicy", env, **PLAIN, n_steps=64, n_samples=2, batch_size=64, n_epochs=1, seed=0)
    model.learn(LATE + 56 if late else 64)
    env.close()


def judge(name, late):
    """The outcome for one form of a case, and the text of the error."""
    make = CASES[name].maker(late)
    try:
        env = RestorableGymVecEnv(make, WORLDS, seed=5)
    except (UsageError, RunError) as error:
        return REFUSED, str(error)
    strategy = env.strategy
    env.close()
    try:
        left = mismatch(make, late)
    except (UsageError, RunError) as error:
        left = str(error)
    if left is None:
        return EXACT, strategy
    try:
        train(make, late)
    except RunError as error:
        return STOPPED, str(error)
    return WRONG, f"{strategy}; it leaves the world at step {left}"


def table(names=tuple(CASES)):
    """A line for each form: name, form, what became of it, whether that is what was expected, what was said."""
    for name in names:
        for late in (False, True):
            became, said = judge(name, late)
            true = "true" if became == CASES[name].expected(late) else "FALSE"
            yield f"| {name} | {'late' if late else 'early'} | {became} | {true} | {said[:160]} |"


if __name__ == "__main__":
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    warnings.simplefilter("ignore")
    print("| environment | form | outcome | as expected | what was said |\n|---|---|---|---|---|")
    for line in table(sys.argv[1:] or tuple(CASES)):
        print(line, flush=True)
