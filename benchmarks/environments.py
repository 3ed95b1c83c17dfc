"""One environment a peer, from its pinned packages, made once and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
"""Every subject runs on the Python that runs the benchmark."""


class MissingToolError(RuntimeError):
    """What makes the environment is not on this machine: the peer cannot be measured."""


def environment(name: str, requirements: Path, cache: Path) -> Path:
    """The interpreter of the environment `name`, made anew when its pins or the Python changed.

    Bytecode is compiled at installation, for every subject alike.
    """
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


def node_environment(name: str, pins: Path, cache: Path) -> Path:
    """The folder with `node_modules` of what `pins/package-lock.json` names, made once.

    No package runs a script at installation.

    Raises:
        MissingToolError: There is no Node or no npm.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if not (node and npm):
        raise MissingToolError(f"{name} needs node and npm on the PATH")
    lock = pins / "package-lock.json"
    stamp = hashlib.sha256(lock.read_bytes() + node_version().encode()).hexdigest()
    home = cache / "node" / name
    stamped = home / "stamp"
    if stamped.exists() and stamped.read_text() == stamp:
        return home
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    print(f"making the environment {name}", file=sys.stderr)
    for pinned in (pins / "package.json", lock):
        shutil.copyfile(pinned, home / pinned.name)
    argv = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(argv, cwd=home, check=True)
    stamped.write_text(stamp)
    return home


def node_version() -> str:
    """The version of the Node on the PATH."""
    told = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    return told.stdout.strip()


def node_versions(home: Path, packages: tuple[str, ...]) -> dict[str, str]:
    """The version of Node, and the installed one of each of `packages`."""
    found = {"node": node_version()}
    for package in packages:
        about = json.loads((home / "node_modules" / package / "package.json").read_text())
        found[package] = about["version"]
    return found


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
