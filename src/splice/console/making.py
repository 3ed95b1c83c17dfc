"""Makes what pages draw with, in a process of its own: `python -m splice.console.making FOLDER`.

Altair and vl-convert take seconds and a hundred megabytes to be loaded; a process that answers
calls has neither to spare, and needs what they make once for each version of them.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import subprocess
import sys
import uuid
from pathlib import Path

BUNDLE, SPECS = "vega.js", "charts.json"

_EXPORTS = "window.vegaEmbed = vegaEmbed;"
_PATIENCE_S = 120


def made(cache: Path) -> dict[str, bytes]:
    """The drawing library and the charts, by name; made where they are not kept in the folder.

    Raises:
        RuntimeError: They could not be made.
    """
    folder = cache / _version()
    names = (BUNDLE, SPECS)
    if not all((folder / name).is_file() for name in names):
        command = [sys.executable, "-m", "splice.console.making", str(folder)]
        done = subprocess.run(  # noqa: S603 - our own module
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=_PATIENCE_S, check=False,
        )  # fmt: skip
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
            raise RuntimeError(f"what charts are drawn with could not be made: {last[0]}")
    return {name: (folder / name).read_bytes() for name in names}


def _version() -> str:
    """Changes with whatever changes the outcome."""
    parts = [importlib.metadata.version(one) for one in ("vl-convert-python", "altair")]
    source = b"".join((Path(__file__).parent / name).read_bytes() for name in _SOURCES)
    return "-".join([*parts, hashlib.sha256(source).hexdigest()[:12]])


_SOURCES = ("charts.py", "making.py")


def _make(folder: Path) -> None:
    import vl_convert  # optional extras, and heavy ones

    from splice.console.charts import as_json

    folder.mkdir(parents=True, exist_ok=True)
    bodies = {BUNDLE: vl_convert.javascript_bundle(_EXPORTS).encode(), SPECS: as_json()}
    for name, body in bodies.items():
        new = folder / f"{name}.{uuid.uuid4().hex}"
        new.write_bytes(body)
        os.replace(new, folder / name)  # whole or not at all: another process may read it now


if __name__ == "__main__":
    _make(Path(sys.argv[1]))
