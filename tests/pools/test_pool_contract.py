"""The pool of processes, held to the contract of pools."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from moods import Crasher
from pools_house import adder as adder_file
from pools_house import pickled, pinned

from splice.app.plugins import plugin
from splice.core.release import PinnedRoute
from splice.ports.hosts import OpenPool
from splice.testing.contracts.pools import PoolContract


class TestProcesses(PoolContract):
    @pytest.fixture
    def open_pool(self) -> OpenPool:
        return plugin("pools", "processes")

    @pytest.fixture
    def adder(self, tmp_path: Path) -> tuple[Path, PinnedRoute]:
        file = adder_file(tmp_path / "adder.onnx")
        return file, pinned(file, features=("a", "b"))

    @pytest.fixture
    def crasher(self, tmp_path: Path) -> tuple[Path, PinnedRoute]:
        file = pickled(tmp_path / "crasher.pkl", Crasher())
        return file, pinned(file, "pickle", ("a", "b"))

    @pytest.fixture
    def damaged(self, adder: tuple[Path, PinnedRoute]) -> tuple[Path, PinnedRoute]:
        file, _ = adder
        file.write_bytes(file.read_bytes()[:40])
        return file, msgspec.structs.replace(pinned(file), features=("a", "b"))
