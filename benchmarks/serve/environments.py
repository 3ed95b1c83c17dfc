"""One environment a peer, from its pinned requirements, made once and kept in the cache."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from serve.subject import HERE

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
"""Every subject runs on the Python that runs the benchmark."""


def environment(name: str, cache: Path) -> Path:
    """The interpreter of the environment `name`, made anew when its pins or the Python changed.

    Bytecode is compiled at installation, for every subject alike.
    """
    requirements = HERE / f"requirements-{name}.txt"
    stamp = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    home = cache / "venvs" / name
    python = home / "bin" / "python"
    stamped = home / "stamp"
    if stamped.exists() and stamped.read_text() == stamp:
        return python
    shutil.rmtree(home, ignore_errors=True)
    home.parent.mkdir(parents=True, exist_ok=True)
    print(f"making the environment {name}", file=sys.stderr)
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv:
        _run(uv, "venv", "--quiet", "--python", sys.executable, str(home))
        pip = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)]
    else:
        _run(sys.executable, "-m", "venv", str(home))
        pip = [str(python), "-m", "pip", "install", "--quiet", "--compile"]
    _run(*pip, "--requirement", str(requirements))
    stamped.write_text(stamp)
    return python


def versions(python: Path, packages: tuple[str, ...]) -> dict[str, str]:
    """The installed version of each of `packages` that the interpreter has."""
    script = (
        "import sys\nfrom importlib.metadata import PackageNotFoundError, version\n"
        "for name in sys.argv[1:]:\n"
        "    try: print(name, version(name))\n"
        "    except PackageNotFoundError: pass\n"
    )
    told = subprocess.run(
        [str(python), "-c", script, *packages], capture_output=True, text=True, check=True
    )
    lines = [line.partition(" ") for line in told.stdout.splitlines()]
    return {name: version for name, _, version in lines}


def _run(*argv: str) -> None:
    """Run a command whose bytecode-writing is not switched off."""
    subprocess.run(["env", "-u", "PYTHONDONTWRITEBYTECODE", *argv], check=True)
