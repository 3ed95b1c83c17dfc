"""A project to register in, and estimators trained on real data."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from splice.app import wiring
from splice.app.registering import Registrar
from splice.app.settings import load
from splice.core.release import ModelVersion

EXAMPLES = Path(__file__).parents[2] / "examples"


class Registered:
    """A project with its ledger open."""

    def __init__(self, folder: Path, toml: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "splice.toml").write_text(toml, "utf-8")
        self.folder = folder
        self.settings = load(folder, {})
        self.stores = wiring.Stores(self.settings)
        self.registrar = Registrar(self.settings, self.stores)
        self.registry = wiring.registry_of(self.settings, self.stores)

    def actions(self, subject: str | None = None) -> list[str]:
        """What was done, oldest first."""
        return [one.action for one in self.stores.audit.events(subject=subject)]

    def ask(self, version: ModelVersion, rows: list[dict[str, Any]]) -> list[Any]:
        """What the stored artifact answers."""
        from splice.adapters.runtimes.onnx import OnnxRuntime

        return OnnxRuntime().load(self.stores.models.file(version.sha256)).run(rows)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Registered]:
    """An empty project."""
    made = Registered(tmp_path / "project")
    yield made
    made.stores.close()


@pytest.fixture(scope="session")
def credit() -> SimpleNamespace:
    """German credit: 1,000 real applications, with named columns of numbers and texts."""
    sys.path.insert(0, str(EXAMPLES / "credit"))
    try:
        import data
    finally:
        sys.path.remove(str(EXAMPLES / "credit"))
        sys.modules.pop("data", None)
    try:
        applications = data.read()
    except data.DataUnavailableError as missing:
        pytest.skip(str(missing))
    rows = [dict(one.fields) for one in applications]
    numbers = [name for name, value in rows[0].items() if not isinstance(value, str)]
    return SimpleNamespace(
        rows=rows,
        labels=np.array(["defaulted" if one.defaulted else "repaid" for one in applications]),
        numbers=numbers,
        texts=[name for name in rows[0] if name not in numbers],
        matrix=np.array([[row[name] for name in numbers] for row in rows], dtype=float),
    )
