"""Every scenario in every variant that goes through the contracts."""

from rl_tracking import plugins
from rl_tracking.envs.parts.target_step import TargetStep
from rl_tracking.envs.vec_env import make_scenario, make_vec
from tests.example_plugins import installed

_PURSUIT = {
    "drone": {},
    "drone-wind": {"wind_speed": 2.0},
    "sandbox": {"preset": "sandbox"},
    "sandbox-wind": {"preset": "sandbox", "wind_speed": 3.0},
    "sandbox-at-target": {"preset": "sandbox", "spawn": "at-target"},
    # The first stage of the author's curriculum.
    "sandbox-fixed": {"preset": "sandbox", "motion": "stationary", "target_spawn": "centre", "spawn": "near"},
    "sandbox-bugs": {"preset": "sandbox", "author_bugs": True, "spawn": "at-target", "pursuers": 2},
    "flat": {"dimensions": 2},
    "flat-history": {"preset": "sandbox", "dimensions": 2, "pursuers": 2},
    "three-pursuers": {"pursuers": 3, "wind_speed": 1.0},
    "kinematic": {"dynamics": "kinematic", "step_length": 1.3},
    "capture-terminates": {"capture_terminates": True, "spawn": "near", "motion": "circle"},
    "no-lag-no-drag": {"motor_lag": 0.0, "drag": 0.0, "substeps": 1},
    "ranges": {"drag": [0.1, 0.5], "max_speed": [9.0, 18.0], "wind_speed": [0.0, 3.0], "target_speed": [2.0, 6.0]},
}
_SWARM = {
    # In an author's history the formation stands in every record: only one that changes makes them differ.
    "sandbox-switching": {"preset": "sandbox", "switch_interval": 4.0},
    "bugs-switching": {"preset": "sandbox", "switch_interval": 4.0, "author_bugs": True, "spawn": "wide"},
    "flat-switching": {"dimensions": 2, "switch_interval": 1.0, "pursuers": 7, "scale": 6.0, "spawn": "slots"},
    "pair-kinematic": {"pursuers": 2, "dynamics": "kinematic", "motion": "cube", "target_rests": True},
}
_INTERCEPT = {
    # In episodes of 30 steps an author's history of 30 records never moves on.
    "sandbox": {"preset": "sandbox", "history_steps": 6, "pursuers": 4},
    "sandbox-used": {"preset": "sandbox", "history_steps": 6, "reward": "interception-sandbox", "author_bugs": True},
    "flat-alone": {"dimensions": 2, "pursuers": 1, "spawn": "centre", "motion": "circle", "target_spawn_size": 60.0},
    "kinematic": {
        "dynamics": "kinematic",
        "pursuers": 3,
        "capture_terminates": False,
        "arena_size": 60.0,
        "target_spawn_size": 60.0,
    },
}
_TRACK2D = {
    "continuous": {"actions": "continuous", "drag": 0.0},
    # From the centre, the author's offsets / 100 use little of the range of an observation.
    "sandbox": {"preset": "sandbox", "spawn": "anywhere"},
    "bugs-continuous": {"preset": "sandbox", "spawn": "anywhere", "actions": "continuous", "author_bugs": True},
    "evader": {"motion": "evader:acceleration=5,sight=40", "capture_terminates": False, "reward": "complex"},
}
# Motions with other options, with speeds that differ between worlds, in the plane, after several pursuers.
_MOTIONS = {
    "evader-three": {"motion": "evader:sight=20", "pursuers": 3, "target_speed": [2.0, 6.0]},
    "evader-sandbox": {"preset": "sandbox", "motion": "evader"},
    "jink-flat": {"motion": "jink:interval=0.3,turn=90", "dimensions": 2, "target_speed": [2.0, 6.0]},
    "weave-flat": {"motion": "weave:amplitude=150,period=1", "dimensions": 2, "target_speed": [2.0, 6.0]},
    "waypoints-pause": {"motion": "waypoints:extent=0.1,pause=0.3", "target_spawn_size": 6.0},
    "square-speeds": {"motion": "square:side=0.05,way=right", "target_speed": [2.0, 6.0]},
    "track-start": {"motion": "track:random_start=false", "target_speed": [5.5, 9.0]},
}
_SHORT = {"max_steps": 30}


def rewards_of_targets():
    """The rewards that read no more than a step after a target has; others are the defaults of their scenarios."""
    return [name for name in plugins.names("reward") if plugins.resolve("reward", name).judges is TargetStep]


def _variants():
    found = {f"pursuit-{name}": {"scenario": "pursuit", **parameters} for name, parameters in _PURSUIT.items()}
    found |= {f"swarm-{name}": {"scenario": "swarm", **parameters} for name, parameters in _SWARM.items()}
    found |= {f"intercept-{name}": {"scenario": "intercept", **parameters} for name, parameters in _INTERCEPT.items()}
    found |= {f"track2d-{name}": {"scenario": "track2d", **parameters} for name, parameters in _TRACK2D.items()}
    found |= {f"motion-{name}": {"scenario": "pursuit", "motion": name} for name in plugins.names("motion")}
    found |= {f"motion-{name}": {"scenario": "pursuit", **parameters} for name, parameters in _MOTIONS.items()}
    found |= {f"reward-{name}": {"scenario": "pursuit", "reward": name} for name in rewards_of_targets()}
    found |= {f"scenario-{name}": {"scenario": name} for name in plugins.names("scenario")}
    # What a name stands for may be one of the variants above.
    once = {}
    for name, values in found.items():
        given = {key: value for key, value in values.items() if key != "scenario"}
        parameters = {**make_scenario(values["scenario"], **given).parameters, "preset": None}
        once.setdefault((values["scenario"], repr(parameters)), name)
    return {name: found[name] for name in once.values()}


with installed("scenario_plugin"):
    VARIANTS = _variants()


def make(variant, num_envs, seed=0, **changes):
    """A batch of a variant, with episodes so short that every stretch of 50 steps crosses the end of one."""
    return make_vec(num_envs=num_envs, seed=seed, **{**VARIANTS[variant], **_SHORT, **changes})
