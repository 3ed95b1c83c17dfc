"""What every ModelStore must hold to.

Inherit `ModelStoreContract` and give it the fixtures `models` and `audit`: an empty store, and the
audit log that it writes to.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from splice.core.audit import first_broken
from splice.core.errors import ModelUnavailable, StoreError
from splice.core.release import Column, ModelVersion, Signature
from splice.ports.audit import AuditLog
from splice.ports.stores import ModelStore

_SIGNATURE = Signature(
    inputs=(Column("x", "FP32", (-1, 3)),), outputs=(Column("y", "FP32", (-1, 1)),),
    classes=("gut", "schlecht ✗"), features=("a", "b", "c"),
)  # fmt: skip


def described(created_us: int = 1) -> ModelVersion:
    """A version before it is numbered and hashed."""
    return ModelVersion("", 0, "", 0, "onnx", _SIGNATURE, created_us, source="train.py")


def file_of(folder: Path, content: bytes) -> Path:
    """A file with that content."""
    file = folder / "model.onnx"
    file.write_bytes(content)
    return file


class ModelStoreContract:
    """Artifacts are kept under their hash; names and aliases find them."""

    def test_a_model_is_numbered_and_hashed(self, models: ModelStore, tmp_path: Path) -> None:
        content = b"model" * 300_000
        file = file_of(tmp_path, content)

        added = models.add_model("credit", file, described(), aliases=["champion"])
        file.unlink()

        assert added == ModelVersion(
            "credit", 1, hashlib.sha256(content).hexdigest(), len(content), "onnx", _SIGNATURE, 1,
            source="train.py",
        )  # fmt: skip
        assert models.file(added.sha256).read_bytes() == content
        assert models.resolve("credit", "champion") == models.resolve("credit", "1") == added

    def test_the_same_bytes_keep_their_number(self, models: ModelStore, tmp_path: Path) -> None:
        first = models.add_model("credit", file_of(tmp_path, b"1"), described())
        second = models.add_model("credit", file_of(tmp_path, b"2"), described(2))
        again = models.add_model("credit", file_of(tmp_path, b"1"), described(3), aliases=["best"])
        other = models.add_model("churn", file_of(tmp_path, b"1"), described(4))

        assert (first.version, second.version, again, other.version) == (1, 2, first, 1)
        assert models.aliases("credit") == {"best": 1}
        assert models.models("credit") == [second, first]
        assert models.models() == [other, second, first]

    def test_an_alias_moves(self, models: ModelStore, tmp_path: Path) -> None:
        for content in (b"1", b"2"):
            models.add_model("credit", file_of(tmp_path, content), described())

        models.set_alias("credit", "champion", 1)
        models.set_alias("credit", "champion", 2)

        champion = models.resolve("credit", "champion")
        assert champion is not None
        assert champion.version == 2

    def test_what_is_not_there_is_none(self, models: ModelStore, tmp_path: Path) -> None:
        models.add_model("credit", file_of(tmp_path, b"1"), described(), aliases=["champion"])

        for name, ref in (("credit", "2"), ("credit", "best"), ("churn", "champion"),
                          ("churn", "1"), ("credit", "9" * 30), ("credit", "")):  # fmt: skip
            assert models.resolve(name, ref) is None
        assert models.aliases("churn") == {}

    def test_only_a_version_that_is_there_is_named(
        self, models: ModelStore, tmp_path: Path
    ) -> None:
        models.add_model("credit", file_of(tmp_path, b"1"), described())

        with pytest.raises(StoreError):
            models.set_alias("credit", "champion", 2)
        with pytest.raises(StoreError):
            models.set_alias("credit", "1", 1)  # could be taken for a number
        with pytest.raises(StoreError):
            models.withdraw("churn", 1, "bad")

    def test_a_withdrawn_version_says_why_until_it_is_allowed(
        self, models: ModelStore, tmp_path: Path
    ) -> None:
        added = models.add_model("credit", file_of(tmp_path, b"1"), described())

        withdrawn = models.withdraw("credit", 1, "trained on the wrong year")
        while_withdrawn = models.withdrawn()
        allowed = models.withdraw("credit", 1, "")

        assert withdrawn.withdrawn == "trained on the wrong year"
        assert while_withdrawn == {added.sha256: "trained on the wrong year"}
        assert allowed == added
        assert models.withdrawn() == {}

    def test_a_file_other_than_was_inspected_is_refused(
        self, models: ModelStore, tmp_path: Path
    ) -> None:
        version = ModelVersion("credit", 0, "ab" * 32, 1, "onnx", _SIGNATURE)

        with pytest.raises(StoreError):
            models.add_model("credit", file_of(tmp_path, b"1"), version)
        with pytest.raises(StoreError):
            models.add_model("credit", tmp_path / "missing.onnx", described())

        assert models.models() == []

    @pytest.mark.parametrize("damage", ["truncate", "change", "remove", "empty"])
    def test_a_damaged_file_is_told(self, models: ModelStore, tmp_path: Path, damage: str) -> None:
        content = b"weights" * 1000
        added = models.add_model("credit", file_of(tmp_path, content), described())
        file = models.file(added.sha256)
        if damage == "remove":
            file.unlink()
        else:
            file.write_bytes(
                {"truncate": content[:-1], "change": content[::-1], "empty": b""}[damage]
            )

        with pytest.raises(ModelUnavailable):
            models.file(added.sha256)
        models.add_model("credit", file_of(tmp_path, content), described())

        assert models.file(added.sha256).read_bytes() == content

    def test_every_change_is_an_audit_event_of_the_same_transaction(
        self, models: ModelStore, audit: AuditLog, tmp_path: Path
    ) -> None:
        file = file_of(tmp_path, b"1")

        added = models.add_model("credit", file, described(7), aliases=["best"], by="ada", why="x")
        models.add_model("credit", file, described(8), aliases=["best"], by="bob")
        models.set_alias("credit", "champion", 1, by="eve", now_us=9)
        models.set_alias("credit", "champion", 1, by="eve", now_us=10)
        models.withdraw("credit", 1, "bad", by="mal", now_us=11)
        models.withdraw("credit", 1, "", by="mal", now_us=12)
        with pytest.raises(StoreError):
            models.set_alias("credit", "champion", 2, by="eve", now_us=13)

        events = audit.events(subject="credit@1")
        assert [(one.action, one.by, one.at_us, one.why) for one in events] == [
            ("model.register", "ada", 7, "x"),
            ("model.alias", "ada", 7, "x"),
            ("model.alias", "eve", 9, ""),
            ("model.withdraw", "mal", 11, "bad"),
            ("model.restore", "mal", 12, ""),
        ]
        assert events == audit.events()
        assert events[0].details["sha256"] == added.sha256
        assert events[2].details == {"alias": "champion", "before": None}
        assert first_broken(events) is None

    def test_an_unknown_hash_is_told(self, models: ModelStore) -> None:
        for sha256 in ("ab" * 32, "", "../../etc/passwd"):
            with pytest.raises(ModelUnavailable):
                models.file(sha256)

    def test_many_at_once_get_different_numbers(self, models: ModelStore, tmp_path: Path) -> None:
        def add(n: int) -> int:
            folder = tmp_path / str(n)
            folder.mkdir()
            return models.add_model("credit", file_of(folder, b"%d" % n), described()).version

        with ThreadPoolExecutor(8) as pool:
            numbers = list(pool.map(add, range(16)))

        assert sorted(numbers) == list(range(1, 17))
