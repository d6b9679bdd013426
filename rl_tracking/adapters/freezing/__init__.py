"""The state of an object as a value that can be restored bit for bit, or a refusal that says why.

``copy.deepcopy`` cannot be used: an environment may define it to give a fresh one, as Gymnasium's ``EzPickle`` does.
``core`` freezes values into nodes and thaws them; ``comparing``, ``encoding`` and ``reseeding`` work on frozen values;
the other modules say how each type is copied. An object that is referred to twice is one object after a restore too,
and a reference to the environment becomes one to the environment that is restored. Code, spaces and displays are no
state: a restored world keeps its own; but the variables that a function remembers are state (``functions``), and so
are the generators of spaces (``spaces``). A value whose state lies elsewhere (a file, a C library) raises
:class:`NotCopyableError`.
"""

from rl_tracking.adapters.freezing.arrays import ARRAY_CODECS
from rl_tracking.adapters.freezing.containers import CONTAINER_CODECS
from rl_tracking.adapters.freezing.core import Codecs, Freezer, Node, NotCopyableError, Thawer
from rl_tracking.adapters.freezing.functions import FUNCTION_CODECS
from rl_tracking.adapters.freezing.objects import OBJECT_CODECS
from rl_tracking.adapters.freezing.randomness import RANDOM_CODECS
from rl_tracking.adapters.freezing.references import REFERENCE_CODECS
from rl_tracking.adapters.freezing.surfaces import SURFACE_CODECS

CODECS = Codecs(
    (
        *SURFACE_CODECS,
        *REFERENCE_CODECS,
        *ARRAY_CODECS,
        *CONTAINER_CODECS,
        *RANDOM_CODECS,
        *FUNCTION_CODECS,
        *OBJECT_CODECS,
    )
)

__all__ = ["CODECS", "Codecs", "Freezer", "Node", "NotCopyableError", "Thawer"]
