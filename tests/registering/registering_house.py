"""A project with its ledger open, to register in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from splice.app import wiring
from splice.app.registering import Registrar
from splice.app.settings import load
from splice.core.release import ModelVersion


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
