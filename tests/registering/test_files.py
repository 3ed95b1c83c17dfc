"""Model files, archives and pickles: what is taken, what is refused, and what is left behind."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import numpy as np
import onnx
import pytest
from registering_house import Registered
from sklearn.linear_model import LogisticRegression

from splice.control import archives
from splice.control.artifacts import imports_of, kind_of
from splice.control.registry import Registration
from splice.core.errors import DeclarationError, ModelUnavailable
from splice.core.release import Signature

SAID = Registration(by="ada")


def graph(inputs: str = "float[N,2] x", weight: float = 0.5) -> bytes:
    text = f"""
        <ir_version: 8, opset_import: ["": 17]>
        g ({inputs}) => (float[N,1] y) <float[2,1] w = {{{weight}, 0.25}}> {{ y = MatMul(x, w) }}
    """
    return onnx.parser.parse_model(text).SerializeToString()


def light() -> bytes:
    x = np.random.default_rng(1).normal(size=(200, 2))
    kept = {"objective": "binary", "verbose": -1}
    return lightgbm.train(kept, lightgbm.Dataset(x, x[:, 0] > 0), 3).model_to_string().encode()


def zipped(folder: Path, entries: dict[str, bytes], name: str = "model.zip") -> Path:
    file = folder / name
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, content in entries.items():
            archive.writestr(entry, content)
    return file


def tarred(folder: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    file = folder / "model.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, link
    return found


class Evil:
    """What a hostile pickle does when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


def test_a_zip_and_a_tar_with_one_model_and_its_card_are_taken(
    project: Registered, tmp_path: Path
) -> None:
    card = b'owner = "risk"\nmetrics = {auc = 1}\nlimits = ["not for children"]\n'
    inside = {"readme.md": b"channels: none\n", "a/credit.onnx": graph(), "a/card.toml": card}
    tar = [(member(name), content) for name, content in
           (("b", light()), ("card.toml", card), ("empty", b""))]  # fmt: skip

    first = project.registrar.file("credit", zipped(tmp_path, inside), SAID).version
    second = project.registrar.file("trees", tarred(tmp_path, tar), SAID).version

    assert first.card.owner == second.card.owner == "risk"
    assert first.card.metrics == {"auc": 1.0}
    assert first.source == "model.zip/a/credit.onnx"
    assert project.stores.models.file(first.sha256).read_bytes() == graph()
    assert second.lineage.original.startswith("lightgbm.basic.Booster")
    assert second.lineage.parity is not None


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "dots": (lambda f: zipped(f, {"../out.onnx": graph()}), "leads out"),
    "absolute": (lambda f: zipped(f, {"/etc/out.onnx": graph()}), "leads out"),
    "backslash": (lambda f: zipped(f, {"..\\out.onnx": graph()}), "leads out"),
    "drive": (lambda f: zipped(f, {"C:/out.onnx": graph()}), "leads out"),
    "tar-dots": (lambda f: tarred(f, [(member("a/../../out.onnx"), graph())]), "leads out"),
    "link": (lambda f: tarred(f, [(member("a", tarfile.SYMTYPE, "/etc/passwd"), b"")]), "a link"),
    "hard": (lambda f: tarred(f, [(member("a", tarfile.LNKTYPE, "/etc/passwd"), b"")]), "a link"),
    "device": (lambda f: tarred(f, [(member("a", tarfile.CHRTYPE), b"")]), "a device"),
    "zip-link": (lambda f: _zip_link(f), "a link"),
    "bomb": (lambda f: zipped(f, {"m.onnx": b"\0" * 50_000_000}), "far more data"),
    "tar-bomb": (lambda f: tarred(f, [(member("m.onnx"), b"\0" * 50_000_000)]), "far more data"),
    "lying-size": (lambda f: _lying(f), "far more data|damaged"),
    "many": (lambda f: zipped(f, {f"{i}.txt": b"x" for i in range(300)}), "more files"),
    "two": (lambda f: zipped(f, {"a.onnx": graph(), "b.onnx": graph()}), "2 models"),
    "none": (lambda f: zipped(f, {"a.md": b"nothing"}), "0 models"),
    "pickle": (lambda f: zipped(f, {"a.onnx": pickle.dumps([1])}), "a pickle in it"),
    "cut": (lambda f: _cut(zipped(f, {"a.onnx": graph()})), "no directory"),
    "cut-tar": (lambda f: _cut(tarred(f, [(member("a.onnx"), os.urandom(9000))])), "damaged"),
    "secret": (lambda f: _secret(f), "cannot be read"),
    "huge-header": (lambda f: _huge_header(f), "enormous headers"),
}


def _zip_link(folder: Path) -> Path:
    file = folder / "model.zip"
    with zipfile.ZipFile(file, "w") as archive:
        entry = zipfile.ZipInfo("model.onnx")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    return file


def _lying(folder: Path) -> Path:
    """Says in its directory that the file is small."""
    file = zipped(folder, {"m.onnx": b"\0" * 50_000_000})
    raw = bytearray(file.read_bytes())
    at = raw.rfind(b"PK\x01\x02")
    raw[at + 24 : at + 28] = struct.pack("<I", 100)
    file.write_bytes(raw)
    return file


def _cut(file: Path) -> Path:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return file


def _secret(folder: Path) -> Path:
    """Says that it is encrypted."""
    file = zipped(folder, {"a.onnx": graph()})
    raw = bytearray(file.read_bytes())
    raw[6] |= 1
    raw[raw.rfind(b"PK\x01\x02") + 8] |= 1
    file.write_bytes(raw)
    return file


def _huge_header(folder: Path) -> Path:
    file = folder / "model.tar.gz"
    note = member("note", tarfile.XHDTYPE)
    note.size = 1_000_000
    with gzip.open(file, "wb") as sink:
        sink.write(note.tobuf(tarfile.USTAR_FORMAT) + os.urandom(1_000_448) + b"\0" * 1024)
    return file


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_is_refused_and_leaves_nothing(
    project: Registered, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, words = HOSTILE[kind]
    inner = tmp_path / "deep" / "deeper"
    inner.mkdir(parents=True)
    file = make(inner)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))

    with pytest.raises(ModelUnavailable, match=words):
        project.registrar.file("credit", file, SAID)

    assert list(scratch.iterdir()) == []
    assert sorted(one.name for one in (tmp_path / "deep").rglob("*") if one.is_file()) == [
        file.name
    ]
    assert project.stores.models.models() == []


def test_what_is_unpacked_is_bounded_as_said(tmp_path: Path) -> None:
    file = zipped(tmp_path, {"a.onnx": graph(), "b.bin": os.urandom(1000)})

    with archives.opened(file, "zip", archives.Bounds(files=2, total=1200)) as found:
        assert found.model.read_bytes() == graph()
    for bounds in (archives.Bounds(files=1), archives.Bounds(total=1000)):
        with pytest.raises(ModelUnavailable), archives.opened(file, "zip", bounds):
            pytest.fail("it must not open")


DISGUISES: dict[str, Callable[[Path, Any], object]] = {
    "plain": lambda file, what: file.write_bytes(pickle.dumps(what)),
    "oldest": lambda file, what: file.write_bytes(pickle.dumps(what, protocol=0)),
    "joblib": lambda file, what: joblib.dump(what, file),
    "zlib": lambda file, what: joblib.dump(what, file, compress=3),
    "gzip": lambda file, what: joblib.dump(what, file, compress=("gzip", 3)),
    "xz": lambda file, what: joblib.dump(what, file, compress=("xz", 3)),
    "bz2": lambda file, what: joblib.dump(what, file, compress=("bz2", 3)),
    "numpy": lambda file, what: _numpy(file, what),
    "torch": lambda file, what: _torch(file, what),
}


def _numpy(file: Path, what: Any) -> None:
    with file.open("wb") as sink:
        np.save(sink, np.array([what], dtype=object), allow_pickle=True)


def _torch(file: Path, what: Any) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(what))
        archive.writestr("archive/version", "3")


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_pickle_in_disguise_is_refused_without_being_loaded(
    project: Registered, tmp_path: Path, disguise: str
) -> None:
    mark, file = tmp_path / "ran", tmp_path / "model.onnx"
    DISGUISES[disguise](file, Evil(mark))

    with pytest.raises(ModelUnavailable, match="a pickle: loading it runs"):
        project.registrar.file("credit", file, SAID)
    with pytest.raises(ModelUnavailable, match="a pickle: loading it runs"):
        project.registry.register("credit", file, now_us=1)
    imports = imports_of(file)

    assert kind_of(file) == "pickle"
    assert any("system" in one for one in imports), imports
    assert not mark.exists()
    assert project.stores.models.models() == []


def test_what_is_no_pickle_is_not_taken_for_one(tmp_path: Path) -> None:
    kinds = {
        "a.onnx": (graph(), "onnx"),
        "b.txt": (light(), "lightgbm"),
        "c.json": (b'{"learner":{}}', "xgboost"),
        "d.yaml": (b"channels:\n- defaults\ndependencies:\n- python\n", "unknown"),
        "e.csv": (b"count,name\n1,a\n", "unknown"),
        "f.npy": (_array(), "unknown"),
        "g": (b"", "unknown"),
    }
    for name, (content, kind) in kinds.items():
        file = tmp_path / name
        file.write_bytes(content)
        assert kind_of(file) == kind, name


def _array() -> bytes:
    sink = io.BytesIO()
    np.save(sink, np.zeros(3))
    return sink.getvalue()


SIGNATURE = Signature(features=("a", "b"), classes=("no", "yes"))


def test_a_pickle_is_registered_only_where_it_is_allowed_and_somebody_says_why(
    tmp_path: Path,
) -> None:
    x = np.random.default_rng(1).normal(size=(50, 2))
    file = tmp_path / "model.pkl"
    joblib.dump(LogisticRegression().fit(x, x[:, 0] > 0), file)
    strict = Registered(tmp_path / "strict")
    open_ = Registered(tmp_path / "open", "[models]\nallow_pickle = true\n")
    why = Registration(by="ada", why="our own training job wrote it")

    with pytest.raises(DeclarationError, match="allow_pickle = true"):
        strict.registrar.pickle("credit", file, why, SIGNATURE)
    with pytest.raises(DeclarationError, match="Say --why"):
        open_.registrar.pickle("credit", file, SAID, SIGNATURE)
    version = open_.registrar.pickle("credit", file, why, SIGNATURE).version

    assert strict.stores.models.models() == []
    assert (version.format, version.signature) == ("pickle", SIGNATURE)
    (event,) = open_.stores.audit.events()
    assert (event.action, event.by, event.why) == ("model.register_pickle", "ada", why.why)
    assert "sklearn.linear_model._logistic.LogisticRegression" in event.details["imports"]
    for one in (strict, open_):
        one.stores.close()


def test_an_alias_stays_where_its_callers_would_be_surprised(
    project: Registered, tmp_path: Path
) -> None:
    champion = Registration(by="ada", aliases=("champion",))
    files = {}
    for name, raw in (
        ("a", graph()),
        ("b", graph(weight=0.7)),
        ("c", graph("float[N,2] z, float[N,2] x")),
    ):
        files[name] = tmp_path / f"{name}.onnx"
        files[name].write_bytes(raw)
    project.registrar.file("credit", files["a"], champion)

    project.registrar.file("credit", files["b"], champion)
    with pytest.raises(DeclarationError, match=r"unlike credit@2: it .*z"):
        project.registrar.file("credit", files["c"], champion)
    third = project.registrar.file("credit", files["c"], SAID).version
    with pytest.raises(DeclarationError, match="--new-signature"):
        project.registry.point(third, "champion", now_us=1, said=SAID)

    assert project.stores.models.aliases("credit") == {"champion": 2}
    project.registry.point(
        third, "champion", now_us=1, said=Registration(by="ada", new_signature=True)
    )
    assert project.stores.models.aliases("credit") == {"champion": 3}


def test_a_tampered_artifact_is_found_and_not_loaded(project: Registered, tmp_path: Path) -> None:
    file = tmp_path / "a.onnx"
    file.write_bytes(graph())
    version = project.registrar.file("credit", file, SAID).version
    stored = project.stores.models.file(version.sha256)

    stored.write_bytes(graph(weight=0.51))

    with pytest.raises(ModelUnavailable, match="another hash"):
        project.stores.models.file(version.sha256)
    again = project.registrar.file("credit", file, SAID)
    assert (again.is_new, again.version) == (False, version)
    assert project.stores.models.file(version.sha256).read_bytes() == graph()
