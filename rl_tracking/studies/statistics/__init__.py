"""Figures of a study's results, with intervals, and verdicts on its claims."""

from rl_tracking.studies.statistics.bootstrap import Interval as Interval
from rl_tracking.studies.statistics.metrics import Array as Array
from rl_tracking.studies.statistics.records import Cells as Cells
from rl_tracking.studies.statistics.records import Run as Run
from rl_tracking.studies.statistics.records import Unfinished as Unfinished
from rl_tracking.studies.statistics.records import read_cells as read_cells
from rl_tracking.studies.statistics.records import read_records as read_records
from rl_tracking.studies.statistics.records import with_scores as with_scores
from rl_tracking.studies.statistics.summary import LEVELS as LEVELS
from rl_tracking.studies.statistics.summary import Aggregate as Aggregate
from rl_tracking.studies.statistics.summary import Curve as Curve
from rl_tracking.studies.statistics.summary import Row as Row
from rl_tracking.studies.statistics.summary import Summary as Summary
from rl_tracking.studies.statistics.summary import learning_curve as learning_curve
from rl_tracking.studies.statistics.summary import summarise as summarise
from rl_tracking.studies.statistics.verdicts import MIN_SEEDS as MIN_SEEDS
from rl_tracking.studies.statistics.verdicts import Answer as Answer
from rl_tracking.studies.statistics.verdicts import ClaimVerdict as ClaimVerdict
from rl_tracking.studies.statistics.verdicts import judge as judge
