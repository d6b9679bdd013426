"""Copies of what an object remembers, as a value that can be put back bit for bit, or refused with the reason.

``copy.deepcopy`` is no use here: an environment may answer it with a fresh one (Gymnasium's ``EzPickle`` does).
``core`` freezes and thaws, ``form`` compares values and writes them as bytes, and the other modules say how each sort
of value is copied. What refers to one object twice does so afterwards; what refers to the environment refers to the one
that is restored. Code, spaces and windows are not state: a restored world keeps its own; but the variables that a
function remembers are (``functions``), and the generators of spaces (``spaces``). What holds its state elsewhere (a
file, a C library) raises :class:`NotCopyableError`.
"""

from rl_tracking.adapters.freezing.arrays import ARRAY_CODECS
from rl_tracking.adapters.freezing.containers import CONTAINER_CODECS
from rl_tracking.adapters.freezing.core import Codecs, Freezer, Node, NotCopyableError, Thawer
from rl_tracking.adapters.freezing.functions import FUNCTION_CODECS
from rl_tracking.adapters.freezing.objects import OBJECT_CODECS
from rl_tracking.adapters.freezing.randomness import RANDOM_CODECS
from rl_tracking.adapters.freezing.references import REFERENCE_CODECS
from rl_tracking.adapters.freezing.spaces import Pendings
from rl_tracking.adapters.freezing.surfaces import SURFACE_CODECS

CODECS = Codecs(
    (
        *SURFACE_CODECS,
        *REFERENCE_CODECS,
        *ARRAY_CODECS,
        *CONTAINER_CODECS,
        *RANDOM_CODECS,
        Pendings(),
        *FUNCTION_CODECS,
        *OBJECT_CODECS,
    )
)

__all__ = ["CODECS", "Codecs", "Freezer", "Node", "NotCopyableError", "Thawer"]
