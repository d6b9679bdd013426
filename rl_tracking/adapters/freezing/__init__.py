"""The state of an object as a value that can be restored bit for bit, or a refusal that says why.

``copy.deepcopy`` cannot be used: an environment may define it to give a fresh one, as Gymnasium's ``EzPickle`` does.
``core`` freezes values into nodes and thaws them; ``comparing`` and ``encoding`` work on frozen values;
the other modules say how each type is copied. An object that is referred to twice is one object after a restore too,
and a reference to the environment becomes one to the environment that is restored. Code, spaces and displays are no
state: a restored world keeps its own; but the variables that a function remembers are state (``functions``), and so
are the generators of spaces (``spaces``). A value whose state lies elsewhere (a file, a C library) raises
:class:`NotCopyableError`.
"""

from rl_tracking.adapters.freezing.arrays import ARRAY_CODECS, Arrays
from rl_tracking.adapters.freezing.comparing import differences, same, without_clocks
from rl_tracking.adapters.freezing.containers import CONTAINER_CODECS
from rl_tracking.adapters.freezing.core import (
    ATOMS,
    Codec,
    Codecs,
    Freezer,
    Node,
    NotCopyableError,
    Thawer,
    label_of,
    module_of,
    places_of,
)
from rl_tracking.adapters.freezing.encoding import from_bytes, to_bytes
from rl_tracking.adapters.freezing.functions import FUNCTION_CODECS, content_of, remembered, variables
from rl_tracking.adapters.freezing.objects import OBJECT_CODECS, slots_in, slots_of
from rl_tracking.adapters.freezing.randomness import RANDOM_CODECS, RANDOM_KINDS, reseeded
from rl_tracking.adapters.freezing.references import REFERENCE_CODECS, is_display
from rl_tracking.adapters.freezing.spaces import Space, Spaces, parts_of
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

__all__ = [
    "ATOMS",
    "CODECS",
    "RANDOM_KINDS",
    "Arrays",
    "Codec",
    "Codecs",
    "Freezer",
    "Node",
    "NotCopyableError",
    "Space",
    "Spaces",
    "Thawer",
    "content_of",
    "differences",
    "from_bytes",
    "is_display",
    "label_of",
    "module_of",
    "parts_of",
    "places_of",
    "remembered",
    "reseeded",
    "same",
    "slots_in",
    "slots_of",
    "to_bytes",
    "variables",
    "without_clocks",
]
