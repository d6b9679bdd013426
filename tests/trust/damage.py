"""Ways in which a file can be damaged, by accident or on purpose, as strategies of Hypothesis."""

import collections
import hashlib
import io
import json
import math
import struct
import warnings
import zipfile

import torch
from hypothesis import strategies as st

NASTY_TEXTS = [
    "",
    "\x00",
    "evil.py:f",
    "evil:f",
    "evilpkg.mod:f",
    "os:system",
    "../../x",
    "inf",
    "NaN",
    "x" * 70_000,
    "é\u2028",
]
NASTY_NUMBERS = [
    0,
    -1,
    1,
    2,
    3,
    7,
    2**20,
    2**31,
    2**40,
    2**63,
    -(2**63),
    2**64,
    10**30,
    0.5,
    -0.0,
    1e308,
    1e-308,
    5e-324,
]
NASTY = [None, True, False, [], {}, [[]], [[[1]]], {"a": {}}, [0] * 5000, ["evil.py:f"], {"evil.py:f": 1}]
# As JSON text, since no value makes them.
NASTY_JSON = [
    "NaN",
    "-Infinity",
    "9" * 5000,
    "[" * 3000 + "]" * 3000,
    '{"a":' * 3000 + "1" + "}" * 3000,
    '"\\ud800"',
    "1e999",
]


def values():
    """What a leaf of a file may become."""
    return st.one_of(
        st.sampled_from(NASTY_TEXTS),
        st.sampled_from(NASTY_NUMBERS),
        st.sampled_from(NASTY),
        st.integers(),
        st.floats(),
        st.text(),
    )


def leaves(value, path=()):
    """The paths to everything within nested dicts and lists, themselves included."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from leaves(item, (*path, key))


def put(value, path, new):
    """A copy of nested dicts and lists with something else at a path, or without what is there."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(path) == 1 and new is DELETED:
        del copy[path[0]]
    else:
        copy[path[0]] = put(value[path[0]], path[1:], new)
    return copy


DELETED = object()


def damaged_tree(draw, tree, more=()):
    """A nested value with one or two leaves changed, removed or put elsewhere."""
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from([path for path in leaves(tree) if path] or [()]))
        if not path:
            return draw(values())
        new = draw(
            st.one_of(values(), st.just(DELETED), st.sampled_from(list(more)))
            if more
            else st.one_of(values(), st.just(DELETED))
        )
        tree = put(tree, path, new)
    return tree


# -- bytes ------------------------------------------------------------------------------------------------------------


@st.composite
def damaged_bytes(draw, content):
    """Some bytes flipped, cut, doubled, moved or put in."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        kind = draw(st.sampled_from(["flip", "set", "cut", "tail", "insert", "copy", "number"]))
        if kind == "flip" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "set" and data:
            data[at] = draw(st.integers(0, 255))
        elif kind == "cut":
            del data[at : at + draw(st.integers(1, 64))]
        elif kind == "tail":
            del data[at:]
        elif kind == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=32))
        elif kind == "copy":
            data[at:at] = data[: draw(st.integers(1, 200))]
        else:
            data[at : at + 4] = struct.pack("<I", draw(st.sampled_from([0, 1, 2**16, 2**31, 2**32 - 1])))
    return bytes(data)


# -- zip files --------------------------------------------------------------------------------------------------------


def members_of(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(members, compression=zipfile.ZIP_STORED):
    """``members`` are pairs, so that two can have one name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of two that do
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name) if isinstance(name, str) else name, data, compression)
    return buffer.getvalue()


ODD_NAMES = ["../policy.pth", "/etc/x", "a\\b", "x\x00y", "x" * 300, "a//b", "\x1b[31m", "é", "policy.pth/", "."]


@st.composite
def damaged_directory(draw, content):
    """Members doubled, missing, renamed, compressed, blown up or too many; or fields of the directory changed."""
    members = list(members_of(content).items())
    at = draw(st.integers(0, len(members) - 1))
    name, data = members[at]
    kind = draw(
        st.sampled_from(["double", "drop", "rename", "bomb", "many", "deflate", "bzip2", "fields", "comment", "swap"])
    )
    if kind == "double":
        members.append((name, data if draw(st.booleans()) else b"{}"))
    elif kind == "drop":
        del members[at]
    elif kind == "rename":
        members[at] = (draw(st.sampled_from(ODD_NAMES)), data)
    elif kind == "bomb":
        members[at] = (name, bytes(draw(st.sampled_from([2**21, 2**24, 2**27]))))
        return zipped(members, zipfile.ZIP_DEFLATED)
    elif kind == "many":
        members += [(f"m{number}", b"") for number in range(draw(st.sampled_from([64, 5000])))]
    elif kind in ("deflate", "bzip2"):
        return zipped(members, zipfile.ZIP_DEFLATED if kind == "deflate" else zipfile.ZIP_BZIP2)
    elif kind == "swap":
        other = draw(st.integers(0, len(members) - 1))
        members[at], members[other] = (name, members[other][1]), (members[other][0], data)
    whole = zipped(members)
    if kind == "fields":
        whole = bytearray(whole)
        start = whole.rindex(b"PK\x01\x02", 0, whole.rindex(b"PK\x05\x06"))
        start = draw(st.sampled_from([start, whole.index(b"PK\x01\x02"), whole.rindex(b"PK\x05\x06")]))
        field = start + draw(st.integers(4, 45))
        whole[field : field + 2] = struct.pack("<H", draw(st.sampled_from([0, 1, 8, 0x800, 0x7FFF, 0xFFFF])))
    if kind == "comment":
        whole += draw(st.binary(max_size=40))
    return bytes(whole)


# -- checkpoints ------------------------------------------------------------------------------------------------------


def sealed(members):
    """A checkpoint of members, its checksums put right: whoever means harm does so."""
    try:
        said = json.loads(members["rltrack.json"])
        said["members"] = {
            name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in members.items()
            if name != "rltrack.json"
        }
        members = {**members, "rltrack.json": json.dumps(said).encode()}
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    return zipped(members.items())


@st.composite
def damaged_json(draw, content):
    """One or two leaves of a JSON member changed."""
    members = members_of(content)
    name = draw(st.sampled_from([name for name in ("rltrack.json", "normalizer.json") if name in members]))
    tree = json.loads(members[name])
    tree.pop("members", None)
    tree = damaged_tree(draw, tree)
    if draw(st.integers(0, 4)) == 0:
        path = draw(st.sampled_from([path for path in leaves(tree) if path] or [()]))
        text = json.dumps(put(tree, path, "@@@") if path else "@@@")
        members[name] = text.replace('"@@@"', draw(st.sampled_from(NASTY_JSON))).encode()
    else:
        members[name] = json.dumps(tree).encode("utf-8", "surrogatepass")
    return sealed(members)


class Runs:
    """A pickle of it would write a file."""

    def __reduce__(self):
        return exec, ("open('ran', 'w').close()",)


def _odd_tensor(draw, tensor):
    kind = draw(
        st.sampled_from(
            "nan inf double half int bigger scalar expanded transposed empty sparse complex meta runs text".split()
        )
    )
    if kind in ("nan", "inf"):
        changed = tensor.clone()
        changed.view(-1)[draw(st.integers(0, changed.numel() - 1))] = getattr(math, kind)
        return changed
    return {
        "double": lambda: tensor.double(),
        "half": lambda: tensor.half(),
        "int": lambda: tensor.int(),
        "bigger": lambda: torch.cat([tensor, tensor]),
        "scalar": lambda: torch.zeros(()),
        "expanded": lambda: torch.zeros(1).expand(2**40),
        "transposed": lambda: tensor.flip(0).T if tensor.dim() == 2 else tensor.unsqueeze(0),
        "empty": lambda: torch.zeros(0),
        "sparse": lambda: tensor.to_sparse(),
        "complex": lambda: tensor.to(torch.complex64),
        "meta": lambda: torch.empty(2**34, device="meta"),
        "runs": lambda: Runs(),
        "text": lambda: "weights",
    }[kind]()


@st.composite
def damaged_tensors(draw, content):
    """The weights with a tensor changed, missing or too many; or their own zip file damaged."""
    members = members_of(content)
    weights = members["policy.pth"]
    kind = draw(st.sampled_from(["tensor", "tensor", "drop", "add", "list", "bytes", "directory", "listing", "record"]))
    if kind in ("tensor", "drop", "add", "list"):
        state = torch.load(io.BytesIO(weights), weights_only=True)
        name = draw(st.sampled_from(list(state)))
        if kind == "tensor":
            state[name] = _odd_tensor(draw, state[name])
        elif kind == "drop":
            del state[name]
        elif kind == "add":
            state[draw(st.sampled_from(["", "more", name + "x"]))] = state[name]
        else:
            state = [state] if draw(st.booleans()) else collections.OrderedDict(state=state)
        buffer = io.BytesIO()
        torch.save(state, buffer)
        weights = buffer.getvalue()
    elif kind == "bytes":
        weights = draw(damaged_bytes(weights))
    elif kind == "directory":
        weights = draw(damaged_directory(weights))
    else:
        inner = members_of(weights)
        ending = "data.pkl" if kind == "listing" else "data/0"
        name = next(name for name in inner if name.endswith(ending))
        inner[name] = draw(damaged_bytes(inner[name]))
        weights = zipped(inner.items(), draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])))
    return sealed({**members, "policy.pth": weights})


class Content:
    """A file's content that is not shown whole where a test fails."""

    def __init__(self, data):
        self.data = data

    def __repr__(self):
        return f"<{len(self.data)} bytes or characters>"


def damaged_checkpoints(whole):
    """A checkpoint damaged in one of all these ways."""
    ways = (damaged_bytes, damaged_directory, damaged_json, damaged_tensors)
    return st.one_of(*(way(whole.data) for way in ways)).map(Content)
