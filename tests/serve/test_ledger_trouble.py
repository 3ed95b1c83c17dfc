"""What cannot be recorded is refused where risk is high, and spooled and said where it is low."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from serve_project import INTEGRATIONS, TOML, calls_in, ledger_of

from splice.testing.project import Project, Server

GOOD = {"customer": "c-1", "amount": 5.0}
LOW, HIGH = "/v1/integrations/orders/calls", "/v1/integrations/high-orders/calls"


@pytest.fixture
def own(tmp_path: Path) -> Project:
    made = Project(tmp_path / "p", TOML)
    made.declare(INTEGRATIONS)
    return made


def until(true: Callable[[], Any], seconds: float = 20.0) -> Any:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if value := true():
            return value
        time.sleep(0.05)
    raise AssertionError("it did not come true")


def degraded(server: Server) -> str:
    return " ".join(server.get("/readyz").json["degraded"])


def set_aside(spool: Path) -> int:
    """How many records are in the files of a spool."""
    return sum(len(msgspec.msgpack.decode(one.read_bytes())) for one in spool.glob("*.records"))


def test_a_ledger_locked_by_another_process_refuses_high_risk_and_spools_low_risk_calls(
    own: Project,
) -> None:
    with own.serve() as server:
        with contextlib.closing(ledger_of(own)) as ledger:
            ledger.execute("BEGIN EXCLUSIVE")
            low = [server.post(LOW, GOOD) for _ in range(50)]
            high = server.post(HIGH, GOOD)
            told = until(lambda: degraded(server))
            again = [server.post(HIGH, GOOD).status for _ in range(3)]
            kept = until(lambda: list((own.folder / ".splice" / "spool").glob("*.records")))
            ledger.execute("ROLLBACK")

        assert {answer.status for answer in low} == {200}
        assert (high.status, high.json["code"]) == (503, "not_recorded")
        assert high.headers["retry-after"]
        assert again == [503] * 3
        assert "ledger" in told
        assert kept
        until(lambda: calls_in(own) == 54)
        for answer in low:
            shown = server.get(f"/v1/calls/{answer.json['call_id']}").json
            assert (shown["status"], shown["reply"]) == ("answered", answer.json["reply"])
        shown = server.get(f"/v1/calls/{high.json['call_id']}").json
        assert (shown["status"], shown["reason"]) == ("refused", "not_recorded")
        assert "reply" not in shown
        until(lambda: degraded(server) == "")
        assert server.post(HIGH, GOOD).status == 200


def test_what_was_spooled_is_written_by_the_next_process_after_a_kill(own: Project) -> None:
    with own.serve() as server:
        with contextlib.closing(ledger_of(own)) as ledger:
            ledger.execute("BEGIN EXCLUSIVE")
            low = [server.post(LOW, GOOD).json["call_id"] for _ in range(20)]
            spool = own.folder / ".splice" / "spool"
            until(lambda: set_aside(spool) == 20)  # what is in memory dies with the process
            server.kill()
            ledger.execute("ROLLBACK")
        assert calls_in(own) == 0

    with own.serve() as server:
        until(lambda: calls_in(own) == 20)
        assert all(server.get(f"/v1/calls/{one}").status == 200 for one in low)
        until(lambda: not list(spool.iterdir()))


def test_a_full_disk_refuses_high_risk_calls_and_answers_low_risk_ones(own: Project) -> None:
    """A file size limit of the process stands for the full disk: every write beyond it fails.

    The ledger's log is as long as the limit allows; files of the spool start at nothing, so they
    still have room, as on a disk with a volume of its own for the ledger.
    """
    with own.serve() as server:
        server.stop()
    before = calls_in(own)
    most = (own.folder / ".splice" / "ledger.db").stat().st_size + 64 * 1024
    limited = (
        "import os, resource, sys;"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most}));"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    with own.serve(before=(sys.executable, "-c", limited)) as server:
        high = [server.post(HIGH, {"customer": "x" * 200, "amount": n}) for n in range(120)]
        low = [server.post(LOW, GOOD) for _ in range(20)]
        alive = server.get("/healthz").status
        told = until(lambda: degraded(server))
        code = server.stop()

    assert 503 in {answer.status for answer in high}
    assert {answer.json["code"] for answer in high if answer.status == 503} <= {
        "not_recorded", "overloaded",
    }  # fmt: skip
    assert {answer.status for answer in low} == {200}
    assert alive == 200
    assert "ledger" in told
    assert code == 0

    with own.serve() as server:
        until(lambda: calls_in(own) == before + 140)
        for answer in high:
            status = server.get(f"/v1/calls/{answer.json['call_id']}").json["status"]
            assert status == ("answered" if answer.status == 200 else "refused")


def test_a_read_only_ledger_and_spool_refuse_calls_once_memory_is_full_and_say_so(
    own: Project, tmp_path: Path
) -> None:
    spool = tmp_path / "file"
    spool.write_text("not a folder")
    env = {"SPLICE_LEDGER_SPOOL": str(spool), "SPLICE_LEDGER_MAX_WAITING": "100"}
    with own.serve(env=env) as server, contextlib.closing(ledger_of(own)) as ledger:
        ledger.execute("BEGIN EXCLUSIVE")

        answers = [server.post(LOW, GOOD) for _ in range(300)]
        not_ready = server.get("/readyz")
        ledger.execute("ROLLBACK")

        answered = sum(answer.status == 200 for answer in answers)
        assert 100 <= answered < 300
        refused = [answer.json["code"] for answer in answers if answer.status != 200]
        assert set(refused) == {"overloaded"}
        assert not_ready.status == 503
        assert "wait; new calls are refused" in not_ready.json["not_ready"][0]
        until(lambda: calls_in(own) == answered)
        until(lambda: server.get("/readyz").status == 200)
