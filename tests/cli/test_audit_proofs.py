"""A call is proved to somebody who has no ledger, and an export verifies without one."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from splice.app.archiving import chores_of_archive
from splice.app.rolling import catch_up
from splice.app.settings import load
from splice.app.wiring import Stores
from splice.testing.contracts.checkpoints import some_calls
from splice.testing.contracts.records import DAY_MS, NOON_MS


@pytest.fixture
def kept(applied: Callable[..., object], orders: Any) -> Any:
    """The project with forty calls, a key and a head."""
    applied()
    stores = Stores(load(orders.folder, {}))
    stores.records.append(some_calls(40))
    stores.close()
    orders("audit", "init", "--name", "acme/orders")
    orders("audit", "head")
    return orders


CALLS = some_calls(40)


def refused(orders: Any, *arguments: str) -> Any:
    """What a command said that ended with 1."""
    ran = orders(*arguments)
    assert ran.code == 1, ran.out
    return ran


def public(orders: Any) -> str:
    return str(orders.folder / ".splice/audit.pub")


def test_all_of_it_holds(kept: Any) -> None:
    seen = kept("audit", "verify", "--json").json

    assert (seen["calls"], seen["heads"], seen["covered"]) == (40, 1, 40)
    assert seen["broken"] is None


def test_a_proof_is_checked_without_a_ledger(kept: Any, tmp_path: Path) -> None:
    file = tmp_path / "elsewhere.json"
    kept("audit", "prove", CALLS[7].call_id, "--out", str(file), "--texts")
    (kept.folder / ".splice/ledger.db").unlink()

    said = kept("audit", "check-proof", str(file), "--public-key", public(kept)).out

    assert f"Call {CALLS[7].call_id} of {CALLS[7].integration} was recorded" in said
    assert "Leaf 7 of 40" in said
    assert '{"age":41}' in said


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("call", "cost_nano"), 0), (("call", "status"), "failed"), (("call", "caller"), "eve"),
        (("call", "payload"), "00" * 32), (("call", "payload"), "xy"), (("index",), 8),
        (("size",), 41), (("path", 0), "00" * 32), (("path", 0), "00"), (("format",), "other"),
        (("texts", "item"), base64.b64encode(b"\0").decode()), (("texts", "entity"), "eve"),
        (("head",), "no note"),
    ],
)  # fmt: skip
def test_a_proof_that_was_bent_does_not_hold(
    kept: Any, tmp_path: Path, path: tuple[Any, ...], value: object
) -> None:
    proof = kept("audit", "prove", CALLS[7].call_id, "--texts").json
    inner = proof
    for step in path[:-1]:
        inner = inner[step]
    assert inner[path[-1]] != value
    inner[path[-1]] = value
    file = tmp_path / "bent.json"
    file.write_text(json.dumps(proof))

    said = refused(kept, "audit", "check-proof", str(file), "--public-key", public(kept)).err

    assert "does not hold" in said


def test_a_proof_under_another_key_does_not_hold(kept: Any, tmp_path: Path) -> None:
    file = tmp_path / "proof.json"
    kept("audit", "prove", CALLS[7].call_id, "--out", str(file))
    other = kept.folder / "other"
    other.mkdir()
    (kept.folder / ".splice/audit.key").rename(other / "key")
    (kept.folder / ".splice/audit.pub").rename(other / "pub")
    made = kept("audit", "init", "--name", "acme/orders")
    again = kept("audit", "init", "--name", "acme/orders")

    assert "It lies beside the ledger" in made.err
    assert again.code == 2
    assert "got a key that is there already: " in again.err
    assert again.err.index("audit.key") < again.err.index("audit.pub")
    said = refused(kept, "audit", "check-proof", str(file), "--public-key", public(kept)).err

    assert "not signed by that key" in said


def test_a_call_that_is_not_there_cannot_be_proved(kept: Any) -> None:
    said = refused(kept, "audit", "prove", "018f0000-0000-7000-8000-000000000000").err

    assert "no leaf of the tree" in said


def lines_of(kept: Any, tmp_path: Path) -> tuple[Path, list[bytes]]:
    file = tmp_path / "export.jsonl"
    kept("audit", "export", "--out", str(file))
    return file, file.read_bytes().splitlines(keepends=True)


def test_an_export_verifies_without_the_ledger(kept: Any, tmp_path: Path) -> None:
    file, lines = lines_of(kept, tmp_path)
    (kept.folder / ".splice/ledger.db").unlink()

    said = kept("audit", "verify", "--export", str(file), "--public-key", public(kept)).out

    assert "40 calls hold" in said
    assert "customer-" not in b"".join(lines).decode()


def test_an_export_that_was_changed_names_the_first_record(kept: Any, tmp_path: Path) -> None:
    file, lines = lines_of(kept, tmp_path)
    calls = [n for n, line in enumerate(lines) if line.startswith(b'{"call"')]
    events = [n for n, line in enumerate(lines) if line.startswith(b'{"event"')]
    edited = lines[calls[9]].replace(b'"duration_us":', b'"duration_us":1')
    bent = {
        f"Call {CALLS[9].call_id} was changed": {calls[9]: edited},
        f"Call after {CALLS[38].call_id} is missing": {calls[39]: b""},
        f"Call {CALLS[4].call_id} is leaf 4, in the place of leaf 3": {
            calls[3]: lines[calls[4]],
            calls[4]: lines[calls[3]],
        },
        "Event 1": {events[0]: lines[events[0]].replace(b'"by":"', b'"by":"x')},
        "Event after 1 is missing": {events[1]: b""},
    }
    assert edited != lines[calls[9]]
    for said, changes in bent.items():
        file.write_bytes(b"".join(changes.get(n, line) for n, line in enumerate(lines)))

        told = refused(kept, "audit", "verify", "--export", str(file), "--public-key", public(kept))

        assert said in told.err, said


def test_a_file_that_is_no_export_is_refused(kept: Any, tmp_path: Path) -> None:
    file, lines = lines_of(kept, tmp_path)
    for body in (b"", b"{}\n", b"no JSON\n", b"".join(lines[:-1]) + lines[-1][:20]):
        file.write_bytes(body)

        told = refused(kept, "audit", "verify", "--export", str(file), "--public-key", public(kept))

        assert "export" in told.err


def test_a_head_that_was_kept_is_compared_offline(kept: Any, tmp_path: Path) -> None:
    head = tmp_path / "head.txt"
    head.write_text(kept("audit", "head").out)
    kept("audit", "verify", "--head", str(head), "--public-key", public(kept))

    elsewhere = tmp_path / "key.pub"
    elsewhere.write_text((kept.folder / ".splice/audit.pub").read_text())
    for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm", "audit-heads.txt"):
        (kept.folder / ".splice" / name).unlink(missing_ok=True)
    said = refused(kept, "audit", "verify", "--head", str(head), "--public-key", str(elsewhere)).err

    assert "is missing" in said


def test_archived_calls_are_verified_and_proved(kept: Any, tmp_path: Path) -> None:
    (kept.folder / "splice.toml").write_text('[ledger]\nkeep = "30 d"\n')
    settings = load(kept.folder, {})
    stores = Stores(settings)
    assert catch_up(stores)
    (chore,) = chores_of_archive(settings, stores.archives, stores.duties.freezes)
    while chore.do((NOON_MS + 40 * DAY_MS) * 1000):
        pass
    assert stores.records.count() == 0
    stores.close()

    seen = kept("audit", "verify", "--json").json
    proof = tmp_path / "proof.json"
    kept("audit", "prove", CALLS[11].call_id, "--out", str(proof))
    kept("audit", "check-proof", str(proof), "--public-key", public(kept))
    (file,) = (kept.folder / ".splice/archive").glob("*/credit*.parquet")
    file.write_bytes(file.read_bytes()[:-50])
    told = refused(kept, "audit", "verify").err

    assert (seen["calls"], seen["archived"], seen["broken"]) == (40, 40, None)
    assert "cannot be read" in told


def test_an_event_shows_what_was_and_what_became(kept: Any) -> None:
    kept("stop", "order-screening", "--why", "a test")

    (event,) = kept("audit", "list", "--action", "integration.", "--json").json
    shown = kept("audit", "show", str(event["number"])).out

    assert event["before"] == {"stopped": ""}
    assert event["after"] == {"stopped": "a test"}
    assert event["origin"]["surface"] == "cli"
    assert event["origin"]["command"] == "splice stop"
    assert "splice stop" in shown
