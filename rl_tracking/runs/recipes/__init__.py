"""Defaults by task and algorithm: ``<scenario>-<preset>/<algo>.toml``, in the form that ``train --config`` takes.

Gymnasium environments have one by the kind of their actions, and ``paper`` is the paper's literal form. Each file names
the study behind its numbers. A package with scenarios of its own brings recipes by an entry point in the group
``rl_tracking.recipes``, named as the recipe, whose value is the folder that holds the folder of that name.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
