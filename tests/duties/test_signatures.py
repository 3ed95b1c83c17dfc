"""Signed model files: made, checked, and refused at load without one that holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from duties_house import NAME, Command, opened, write_keys, write_model, write_project

from splice.adapters.signing import oms
from splice.app.settings import load
from splice.app.signatures import loaded_models, signature_of
from splice.app.wiring import services
from splice.core.errors import ModelUnavailable, SettingsError
from splice.declare.discover import reopen

REQUIRED = '\n[models]\npublic_key = "key.pub"\nrequire_signature = true\n'


@pytest.fixture
def applied(command: Command) -> Command:
    write_keys(command.folder)
    write_project(command.folder, more=REQUIRED)
    assert command("release", "apply", "--yes").code == 0
    return command


def load_model(folder: Path) -> Path:
    """The artifact, as what answers calls would get it."""
    with opened(folder) as stores:
        version = stores.models.resolve("credit", "1")
        assert version is not None
        return loaded_models(load(folder), stores.models).file(version.sha256)


def test_a_signed_model_is_loaded_and_an_unsigned_one_is_not(applied: Command) -> None:
    with pytest.raises(ModelUnavailable, match="no signature"):
        load_model(applied.folder)
    unsigned = applied("models", "verify")

    signed = applied("models", "sign", "credit@1", "--key", "key.pem", "--why", "release day")

    assert unsigned.code == 1
    assert signed.code == 0, signed.err
    assert load_model(applied.folder).is_file()
    assert "with a signature that holds" in applied("models", "verify").out
    with opened(applied.folder) as stores:
        event = stores.audit.events(subject="credit@1")[-1]
    assert (event.action, event.why) == ("model.sign", "release day")
    assert "[x] accuracy.signed" in applied("duties", NAME).out


def of_another_key(folder: Path, signature: Path) -> None:
    oms.sign(signature.with_suffix(""), signature, write_keys(folder, "other"))


def of_another_file(folder: Path, signature: Path) -> None:
    write_model(folder / "other.onnx", 0.002)
    oms.sign(folder / "other.onnx", signature, folder / "key.pem")


def no_signature_at_all(folder: Path, signature: Path) -> None:
    signature.write_text("{}", "utf-8")


@pytest.mark.parametrize("bend", [of_another_key, of_another_file, no_signature_at_all])
def test_a_signature_that_does_not_hold_keeps_the_model_out(
    applied: Command, bend: Callable[[Path, Path], None]
) -> None:
    applied("models", "sign", "credit@1", "--key", "key.pem")
    bend(applied.folder, signature_of(load_model(applied.folder)))

    with pytest.raises(ModelUnavailable, match="does not hold"):
        load_model(applied.folder)
    assert applied("models", "verify").code == 1
    assert "[ ] accuracy.signed" in applied("duties", NAME).out


def test_a_process_that_serves_falls_back_where_the_signature_is_lacking(
    applied: Command,
) -> None:
    made = services(load(applied.folder))
    try:
        release = made.stores.releases.release(NAME, 1)
        assert release is not None
        bundle = made.stores.releases.bundle(release.manifest.bundle)

        line = made.compiler.compile(release, reopen(bundle, release.manifest.entry))
    finally:
        made.stores.close()

    model, rule = line.steps
    assert "no signature" in model.unavailable
    assert rule.unavailable == ""


def test_signatures_cannot_be_required_without_a_key(command: Command) -> None:
    write_project(command.folder, more="\n[models]\nrequire_signature = true\n")

    with opened(command.folder) as stores, pytest.raises(SettingsError, match="public_key"):
        loaded_models(load(command.folder), stores.models)


def test_what_is_no_key_signs_nothing(applied: Command) -> None:
    (applied.folder / "bad.pem").write_text("not a key", "utf-8")

    said = applied("models", "sign", "credit@1", "--key", "bad.pem")

    assert said.code == 2
    assert "elliptic-curve key" in said.err


def test_a_folder_is_signed_with_all_that_is_in_it(tmp_path: Path) -> None:
    key = write_keys(tmp_path)
    folder = tmp_path / "pack"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/a.txt").write_text("a", "utf-8")
    signature = folder / "pack.sig"
    oms.sign(folder, signature, key)

    oms.verify(folder, signature, tmp_path / "key.pub")
    (folder / "deep/b.txt").write_text("planted", "utf-8")
    with pytest.raises(ModelUnavailable, match="does not hold"):
        oms.verify(folder, signature, tmp_path / "key.pub")
