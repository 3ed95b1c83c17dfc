"""What every ModelRegistry must hold to.

Inherit `RegistryContract` and give it the fixtures `registry` and `kept`: a version of ours whose
name the registry does not know, with its file.
"""

from __future__ import annotations

from pathlib import Path

from splice.core.release import ModelVersion
from splice.ports.registries import ModelRegistry


class RegistryContract:
    """Versions that are added are found, fetched, named and tagged."""

    def test_what_is_added_is_found(
        self, registry: ModelRegistry, kept: tuple[ModelVersion, Path]
    ) -> None:
        version, file = kept

        first = registry.add(version, file, {"owner": "risk"})
        second = registry.add(version, file, {})

        assert (first.name, first.version, second.version) == (version.name, 1, 2)
        assert registry.version(version.name, "1") == first
        assert first.tags["owner"] == "risk"
        assert {one.version for one in registry.versions(version.name)} == {1, 2}
        assert registry.run(first.run) is not None

    def test_what_is_not_there_is_none(
        self, registry: ModelRegistry, kept: tuple[ModelVersion, Path]
    ) -> None:
        name = kept[0].name

        assert registry.version(name, "1") is None
        assert registry.version(name, "champion") is None
        assert registry.versions(name) == []
        assert registry.aliases(name) == {}
        assert registry.run("0" * 32) is None
        assert registry.run("") is None

    def test_the_file_that_comes_back_is_the_one_that_went(
        self, registry: ModelRegistry, kept: tuple[ModelVersion, Path], tmp_path: Path
    ) -> None:
        version, file = kept
        added = registry.add(version, file, {})

        fetched = registry.fetch(added, tmp_path)

        assert fetched.parent == tmp_path
        assert fetched.read_bytes() == file.read_bytes()

    def test_an_alias_moves_and_tags_are_set(
        self, registry: ModelRegistry, kept: tuple[ModelVersion, Path]
    ) -> None:
        version, file = kept
        for _ in range(2):
            registry.add(version, file, {})

        for number in (1, 2):
            registry.set_alias(version.name, "best", number)
        registry.set_tags(version.name, 1, {"a": "1", "note": "Größe ✗ = 'x'"})
        registry.set_tags(version.name, 1, {"a": "2"})

        assert registry.aliases(version.name) == {"best": 2}
        best = registry.version(version.name, "best")
        assert best is not None
        assert best.version == 2
        first = registry.version(version.name, "1")
        assert first is not None
        assert (first.tags["a"], first.tags["note"]) == ("2", "Größe ✗ = 'x'")
