"""Plugins are found by the entry points of what is installed, ours and other people's."""

from __future__ import annotations

import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from splice.app.plugins import available, names, plugin
from splice.core.errors import SettingsError

FOUND_FROM = f"found-{Path(__file__).stem}"


def install(folder: Path, package: str, module: str) -> None:
    """A package of one module and one entry point, as `pip install` leaves it."""
    folder.mkdir(exist_ok=True)
    (folder / f"{module}.py").write_text(f"def made():\n    return {package!r}\n")
    record = folder / f"{package}-1.0.dist-info"
    unseen = folder.parent / f"{package}.unseen"
    unseen.mkdir()
    (unseen / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (unseen / "entry_points.txt").write_text(f"[splice.finders]\n{FOUND_FROM} = {module}:made\n")
    unseen.rename(record)


def test_all_that_the_package_declares_is_found_by_its_name() -> None:
    points = [
        one for one in distribution("splice-ai").entry_points if one.group.startswith("splice.")
    ]

    assert {one.group for one in points} >= {"splice.ledgers", "splice.runtimes", "splice.buses"}
    for group in {one.group for one in points}:
        declared = [one.name for one in points if one.group == group]
        assert names(group.removeprefix("splice.")) == declared


def test_what_is_installed_while_a_process_runs_is_found(tmp_path: Path, monkeypatch) -> None:
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    assert available("finders", FOUND_FROM) is None

    install(site, "newcomer", "newcomer_plugin")

    assert FOUND_FROM in names("finders")
    assert plugin("finders", FOUND_FROM)() == "newcomer"


def test_the_first_folder_of_the_path_counts_whichever_it_is(tmp_path: Path, monkeypatch) -> None:
    for package in ("one", "two"):
        install(tmp_path / package, package, f"plugin_{package}")
    known = list(sys.path)

    for first, second in (("one", "two"), ("two", "one")):
        folders = [str(tmp_path / first), str(tmp_path / second)]
        monkeypatch.setattr(sys, "path", [str(tmp_path / "nowhere"), *folders, *known])
        assert plugin("finders", FOUND_FROM)() == first


def test_the_working_folder_is_looked_into_where_it_is_on_the_path(
    tmp_path: Path, monkeypatch
) -> None:
    install(tmp_path / "here", "here", "plugin_here")
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    assert FOUND_FROM not in names("finders")

    monkeypatch.chdir(tmp_path / "here")

    assert plugin("finders", FOUND_FROM)() == "here"


def test_a_name_that_nobody_has_is_told_with_those_there_are() -> None:
    with pytest.raises(SettingsError, match=r"no such plugin.*files, mlflow, other, wandb"):
        plugin("trackers", "nobody", others=["other"])


def test_a_library_that_is_not_there_is_told_with_what_to_install(
    tmp_path: Path, monkeypatch
) -> None:
    install(tmp_path / "site", "broken", "plugin_broken")
    (tmp_path / "site" / "plugin_broken.py").write_text("import no_such_library_at_all\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])

    with pytest.raises(SettingsError, match="no_such_library_at_all") as raised:
        plugin("finders", FOUND_FROM, "splice-ai[broken]")

    assert "Install splice-ai[broken]" in str(raised.value)
    assert available("finders", FOUND_FROM) is None
