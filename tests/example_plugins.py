"""The packages in ``examples/`` as Python sees them once they are installed, without installing them."""

import contextlib
import functools
import sys
import tempfile
import tomllib
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


@functools.cache
def _metadata(example):
    """A folder with the metadata of an example; it lasts as long as the tests do."""
    folder = tempfile.TemporaryDirectory()
    project = tomllib.loads((EXAMPLES / example / "pyproject.toml").read_text())["project"]
    info = Path(folder.name) / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups))
    return folder


@contextlib.contextmanager
def installed(example):
    """Within it the entry points of ``examples/<example>`` are found and its modules can be imported."""
    paths = [_metadata(example).name, str(EXAMPLES / example)]
    sys.path[:0] = paths
    try:
        yield
    finally:
        for path in paths:
            sys.path.remove(path)
