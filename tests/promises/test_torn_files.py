"""Files that are torn, cut short or full of rubbish are told of; what else is there goes on."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from promise_house import GOOD, HIGH, INTEGRATIONS, LOW, TOML, until

from splice.core.ids import id_bytes
from splice.testing.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path / "p", TOML)
    made.declare(INTEGRATIONS)
    return made


def ledger_of(project: Project) -> Path:
    return project.folder / ".splice" / "ledger.db"


def asked(project: Project, count: int) -> list[str]:
    """Calls of high risk that were answered by a server which is then killed, its log unfolded."""
    with project.serve() as server:
        ids = [server.post(HIGH, GOOD).json["call_id"] for _ in range(count)]
        server.kill()
    return ids


def stored(project: Project) -> set[bytes]:
    with contextlib.closing(sqlite3.connect(ledger_of(project))) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {bytes(row[0]) for row in database.execute("SELECT id FROM calls")}


def cut(raw: bytes) -> bytes:
    return raw[: len(raw) * 2 // 3 + 7]


def rubbish_behind(raw: bytes) -> bytes:
    return raw + random.Random(5).randbytes(8192)


@pytest.mark.parametrize("harm", [cut, rubbish_behind])
def test_a_log_whose_end_is_torn_leaves_a_sound_ledger_and_the_calls_before_it(
    project: Project, harm: Callable[[bytes], bytes]
) -> None:
    """What a machine that loses power leaves behind what it had synced: half a page, or rubbish."""
    ids = asked(project, 40)
    log = ledger_of(project).with_name("ledger.db-wal")
    whole = log.read_bytes()
    log.write_bytes(harm(whole))

    with project.serve() as server:
        again = server.post(HIGH, GOOD)
        assert again.status == 200

    kept = [one for one in ids if id_bytes(one) in stored(project)]
    assert kept == ids[: len(kept)]  # none is missing between two that are there
    assert len(kept) == len(ids) if harm is rubbish_behind else kept
    assert id_bytes(again.json["call_id"]) in stored(project)


def spooled(folder: Path) -> bytes:
    return b"".join(one.read_bytes() for one in folder.glob("*.records"))


def test_a_batch_in_the_spool_that_is_rubbish_is_set_aside_and_holds_up_no_other(
    project: Project,
) -> None:
    spool = project.folder / ".splice" / "spool"
    with (
        project.serve() as server,
        contextlib.closing(sqlite3.connect(ledger_of(project), isolation_level=None)) as db,
    ):
        db.execute("BEGIN EXCLUSIVE")
        ids = [server.post(LOW, GOOD).json["call_id"] for _ in range(5)]
        until(lambda: all(one.encode() in spooled(spool) for one in ids))  # in one file or more
        server.kill()
        db.execute("ROLLBACK")
    good = sorted(spool.glob("*.records"))[0]
    for number, raw in enumerate(
        (b"", b"\xc1", good.read_bytes()[:-9], b"\x91\x81\xa7call_id\xa1\xe1", b"\xff" * 99)
    ):
        (spool / f"{number:020d}-1-1.records").write_bytes(raw)

    with project.serve() as server:
        until(lambda: all(server.get(f"/v1/calls/{one}").status == 200 for one in ids))
        until(lambda: not list(spool.glob("*.records")))

    assert len(list(spool.glob("*.broken"))) == 5  # for a person to look at


def test_a_ledger_that_is_broken_is_told_in_a_line_and_never_begun_anew(project: Project) -> None:
    asked(project, 5)
    file = ledger_of(project)
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw = file.read_bytes()
    draw = random.Random(6)
    for broken in (raw[: len(raw) // 2], bytes(len(raw)), draw.randbytes(len(raw))):
        file.write_bytes(broken)

        ran = project.run("calls", "list", "--json")

        assert ran.returncode != 0
        assert "Traceback" not in ran.stderr
        assert "ledger" in ran.stderr
        assert file.read_bytes() == broken
