"""What a run is on: one protocol, :class:`Task`, with two implementations, a scenario and a Gymnasium environment."""

from rl_tracking.runs.tasks.base import Pilot as Pilot
from rl_tracking.runs.tasks.base import Task as Task
from rl_tracking.runs.tasks.environment import GymnasiumTask as GymnasiumTask
from rl_tracking.runs.tasks.environment_episodes import Episode as Episode
from rl_tracking.runs.tasks.finding import choose_task as choose_task
from rl_tracking.runs.tasks.finding import make_task as make_task
from rl_tracking.runs.tasks.finding import named_task as named_task
from rl_tracking.runs.tasks.finding import open_policy as open_policy
from rl_tracking.runs.tasks.finding import task_described as task_described
from rl_tracking.runs.tasks.finding import task_of as task_of
from rl_tracking.runs.tasks.pilots import PolicyPilot as PolicyPilot
from rl_tracking.runs.tasks.pilots import pilot_of as pilot_of
from rl_tracking.runs.tasks.repeating import SavedStep as SavedStep
from rl_tracking.runs.tasks.scenario import ScenarioTask as ScenarioTask
from rl_tracking.runs.tasks.scenario_episodes import checked_pilot as checked_pilot
