"""`splice batch --offline`: every row a call, for half the price, by two providers' endpoints."""

from __future__ import annotations

import fcntl
import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from offline_house import (
    JOB,
    KEY,
    ONLINE_NANO,
    SETTINGS,
    declare,
    listed,
    replies,
    settle_in,
    write_tickets,
)

from splice.serve.batch import filling, offline
from splice.testing.batch_server import BatchServer, Fate


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchServer]:
    monkeypatch.setenv("REMOTE_KEY", KEY)
    monkeypatch.setattr(offline, "FIRST_POLL_S", 0.01)
    monkeypatch.setattr(offline, "LONGEST_POLL_S", 0.01)
    with BatchServer() as server:
        yield server


@pytest.fixture(params=["openai", "anthropic"])
def tickets(request: pytest.FixtureRequest, command: Any, server: BatchServer) -> Any:
    """The project, at either provider."""
    settle_in(command, server, request.param)
    return command


def test_every_row_is_a_call_at_half_the_price(tickets, server: BatchServer) -> None:
    write_tickets(tickets.folder, 30, bad=7)

    ran = tickets(*JOB, "--json")

    assert ran.code == 0, ran.err
    counted = ran.json
    assert (counted["rows"], counted["answered"], counted["invalid"]) == (30, 29, 1)
    lines = replies(tickets.folder)
    assert [one["row"] for one in lines] == list(range(30))
    assert {one["reply"]["queue"] for one in lines if one["status"] == "answered"} == {"billing"}
    assert "customer" in lines[7]["error"]
    calls = listed(tickets)
    assert len(calls) == 29
    assert {(one["surface"], one["route"], one["reason"]) for one in calls} == {
        ("batch", "llm:remote/small", "first")
    }
    assert set(server.ran.values()) == {1}
    assert not server.online
    costs = {round(one["cost"] * 1e9) for one in lines if one["status"] == "answered"}
    read = 18 if server.batches[0].kind == "anthropic" else 12
    assert costs == {(read * 100_000 + 5 * 1_000_000) // 2}
    assert not list(tickets.folder.glob("*.parts"))


def test_what_the_provider_still_has_is_collected_by_the_same_command(
    tickets, server: BatchServer
) -> None:
    write_tickets(tickets.folder, 12)
    server.held = True

    sent = tickets(*JOB)
    still = tickets(*JOB, "--json")
    status = tickets(*JOB, "--status", "--json")
    server.release()
    ran = tickets(*JOB, "--json")

    assert sent.out.startswith("0 of 12 rows are back")
    assert (still.code, still.json["pending"]) == (0, 12)
    assert [(one["state"], one["rows"]) for one in status.json] == [("running", 12)]
    assert (ran.json["answered"], ran.json["pending"], ran.json["resumed"]) == (12, 0, 0)
    assert len(server.batches) == 1
    assert len(listed(tickets)) == 12


def test_it_stays_until_all_rows_are_answered_where_it_is_told_to(
    tickets, server: BatchServer
) -> None:
    write_tickets(tickets.folder, 5)
    server.held = True
    looks = Counter[str]()

    def step(what: str) -> None:
        looks["seen"] += what.startswith("before GET") and "batches/" in what
        if looks["seen"] == 4:
            server.release()

    server.step = step

    ran = tickets(*JOB, "--wait", "--json")

    assert ran.json["answered"] == 5
    assert looks["seen"] >= 4


def test_a_call_took_as_long_as_its_batch(tickets, server: BatchServer) -> None:
    write_tickets(tickets.folder, 1)
    server.held = True
    tickets(*JOB)
    sent = time.monotonic()
    tickets(*JOB, "--status")
    server.release()
    waited_ms = (time.monotonic() - sent) * 1000

    tickets(*JOB)

    call = tickets("calls", "show", listed(tickets)[0]["call_id"]).json
    latency_ms = call["attempts"][0]["latency_ms"]
    assert waited_ms <= latency_ms <= call["duration_ms"]
    assert call["duration_ms"] - latency_ms < waited_ms


def test_shards_of_a_job_are_put_together_in_the_order_of_the_rows(
    tickets, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "MOST_ROWS", 7)
    write_tickets(tickets.folder, 30, bad=7)

    ran = tickets(*JOB, "--json")

    assert ran.json["answered"] == 29
    assert [len(one.requests) for one in server.batches] == [7, 7, 7, 7, 1]
    assert [one["row"] for one in replies(tickets.folder)] == list(range(30))


def test_a_batch_has_no_more_bytes_than_it_may(
    tickets, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "MOST_BYTES", 2500)
    write_tickets(tickets.folder, 12)

    ran = tickets(*JOB, "--json")

    sizes = [
        sum(len(json.dumps(one, separators=(",", ":"))) + 2 for one in batch.requests)
        for batch in server.batches
    ]
    assert ran.json["answered"] == 12
    assert len(sizes) > 1
    assert max(sizes) <= 2500


FATES = {
    "ticket 1": Fate(status=400),
    "ticket 2": Fate(expired=True),
    "ticket 3": Fate(missing=True),
    "ticket 4": Fate(garbled=True),
    "ticket 5": Fate(cut=True),
    "ticket 6": Fate(text='{"queue": "nowhere"}'),
}


def test_rows_that_fail_in_the_batch_go_on_to_the_next_route(tickets, server: BatchServer) -> None:
    write_tickets(tickets.folder, 8)
    server.fate = lambda text: FATES.get(text, Fate())

    ran = tickets(*JOB, "--json")

    lines = replies(tickets.folder)
    missing = server.batches[0].kind == "openai"  # the other vendor lists every request
    fell = [one["row"] for one in lines if one["reason"] == "fallback"]
    assert ran.json["answered"] == 8
    assert fell == ([1, 2, 3, 4, 5, 6] if missing else [1, 2, 4, 5, 6])
    assert {lines[row]["reply"]["queue"] for row in fell} == {"unsorted"}
    assert not server.online
    # What was answered and could not be used was charged; what was not run was not.
    assert [lines[row]["cost"] > 0 for row in (1, 2, 5, 6)] == [False, False, True, True]


def test_without_fallback_they_fail_and_say_why(tickets, server: BatchServer) -> None:
    write_tickets(tickets.folder, 8)
    server.fate = lambda text: FATES.get(text, Fate())

    ran = tickets(*JOB, "--no-fallback", "--json")

    lines = replies(tickets.folder)
    failed = [one["row"] for one in lines if one["status"] == "failed"]
    assert ran.json["failed"] == len(failed) >= 5
    assert all("exhausted" in lines[row]["error"] for row in failed)
    explained = tickets("calls", "explain", lines[2]["call_id"])
    assert "expired" in explained.out


def test_a_fallback_online_costs_what_it_costs_online(command, server: BatchServer) -> None:
    settle_in(command, server)
    declare(
        command,
        'splice.Rule(lambda context: {"queue": "unsorted"}),',
        'splice.LLM("remote/large", prompt="triage.md", params={"max_tokens": 21}),',
    )
    write_tickets(command.folder, 3)
    first = Counter[str]()

    def fate(text: str) -> Fate:
        first[text] += 1
        return Fate(status=500 if text == "ticket 1" and first[text] == 1 else 200)

    server.fate = fate

    command(*JOB)

    costs = [round(one["cost"] * 1e9) for one in replies(command.folder)]
    assert costs == [ONLINE_NANO // 2, ONLINE_NANO, ONLINE_NANO // 2]
    assert len(server.online) == 1


def test_what_a_cancelled_batch_did_not_run_is_asked_nowhere_else(
    tickets, server: BatchServer
) -> None:
    write_tickets(tickets.folder, 4)
    server.held = True
    tickets(*JOB)

    cancelled = tickets(*JOB, "--cancel")
    ran = tickets(*JOB, "--json")

    assert "1 batch is being ended" in cancelled.err
    assert (ran.json["answered"], ran.json["failed"]) == (0, 4)
    assert {one["cost"] for one in replies(tickets.folder)} == {0}


def test_a_batch_that_is_refused_as_a_whole_is_told_and_sent_anew_by_the_next_run(
    command, server: BatchServer
) -> None:
    settle_in(command, server)
    write_tickets(command.folder, 4)
    server.ends_as = "failed"

    refused = command(*JOB, "--wait")
    recorded = listed(command)
    server.ends_as = "completed"
    ran = command(*JOB, "--json")

    assert refused.code == 1
    assert "Enqueued token limit reached" in refused.err
    assert recorded == []
    assert ran.json["answered"] == 4
    assert set(server.ran.values()) == {1}


@pytest.mark.parametrize(("batch", "cost"), [("", None), ("batch = 0.25", ONLINE_NANO // 4)])
def test_a_share_that_nobody_said_is_unknown_elsewhere_than_at_its_vendor(
    command, server: BatchServer, batch: str, cost: int | None
) -> None:
    settle_in(command, server, batch=batch)
    write_tickets(command.folder, 2)

    ran = command(*JOB, "--json")

    assert ran.json["cost_nano"] == (None if cost is None else 2 * cost)
    assert {one["cost"] for one in replies(command.folder)} == {cost and cost / 1e9}


def test_a_key_is_in_nothing_that_is_written(tickets, server: BatchServer) -> None:
    write_tickets(tickets.folder, 3)
    server.fate = lambda text: Fate(text=f"{KEY} echoed")
    server.held = True
    sent = tickets(*JOB)
    server.release()

    ran = tickets(*JOB, "--no-fallback")

    written = [file.read_bytes() for file in tickets.folder.rglob("*") if file.is_file()]
    assert not [one for one in written if KEY.encode() in one]
    assert KEY not in sent.out + sent.err + ran.out + ran.err


def test_the_record_holds_the_context_that_the_model_saw(command, server: BatchServer) -> None:
    settle_in(command, server)
    declare(
        command,
        "    def decide(",
        """    async def context(self, ticket: Ticket, look: splice.Lookup) -> dict:
        import pathlib

        return {"text": f"{ticket.text} {pathlib.Path('plan').read_text()}"}

    def decide(""",
    )
    write_tickets(command.folder, 2)
    (command.folder / "plan").write_text("gold")
    server.held = True
    command(*JOB)
    (command.folder / "plan").write_text("tin")
    server.release()
    command(*JOB)

    calls = [command("calls", "show", one["call_id"]).json for one in listed(command)]

    assert sorted(one["context"]["text"] for one in calls) == ["ticket 0 gold", "ticket 1 gold"]
    assert {one["body"]["messages"][-1]["content"] for one in server.batches[0].requests} == {
        "ticket 0 gold",
        "ticket 1 gold",
    }


def test_an_offline_run_does_not_go_on_online(command, server: BatchServer) -> None:
    settle_in(command, server)
    write_tickets(command.folder, 4)
    server.held = True
    command(*JOB)

    ran = command(*JOB[:-1])

    assert ran.code == 2
    assert "Go on with --offline" in ran.err
    assert not server.online


def test_two_processes_do_not_work_at_one_job(command, server: BatchServer) -> None:
    settle_in(command, server)
    write_tickets(command.folder, 4)
    server.held = True
    command(*JOB)

    with (command.folder / "out.jsonl.parts" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ran = command(*JOB)
        status = command(*JOB, "--status")

    assert ran.code == 2
    assert "another run of this job" in ran.err
    assert status.code == 0


def test_rows_of_an_online_run_that_was_cut_short_are_not_sent(
    command, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from splice.serve.batch import job

    settle_in(command, server)
    write_tickets(command.folder, 6)
    monkeypatch.setattr(job, "CHUNK", 2)
    real = job.write_whole

    def dying(file: Any, content: bytes) -> None:
        if file.name == "00000001.jsonl":
            raise KeyboardInterrupt
        real(file, content)

    with monkeypatch.context() as patch:
        patch.setattr(job, "write_whole", dying)
        command(*JOB[:-1])

    ran = command(*JOB, "--json")

    assert len(server.online) == 4
    assert len(server.ran) == 2
    assert ran.json["answered"] == 6


def test_a_stopped_integration_decides_nothing(tickets, server: BatchServer) -> None:
    write_tickets(tickets.folder, 4)
    server.held = True
    tickets(*JOB)
    server.release()
    tickets("stop", "tickets", "--why", "looking into it")

    stopped = tickets(*JOB)
    tickets("start", "tickets")
    ran = tickets(*JOB, "--json")

    assert stopped.code == 1
    assert "looking into it" in stopped.err
    assert ran.json["answered"] == 4
    assert set(server.ran.values()) == {1}


@pytest.mark.parametrize("option", ["--wait", "--status", "--cancel", "--no-fallback"])
def test_options_of_an_offline_run_are_refused_without_it(orders, option: str) -> None:
    orders("release", "apply", "-y")
    orders.write("in.csv", "customer,amount_eur\na,1\n")

    ran = orders("batch", "order-screening", "in.csv", "-o", "out.csv", option)

    assert ran.code == 2
    assert "--offline" in ran.err


def test_an_integration_without_a_language_model_has_no_offline_run(orders) -> None:
    orders("release", "apply", "-y")
    orders.write("in.csv", "customer,amount_eur\na,1\n")

    ran = orders("batch", "order-screening", "in.csv", "-o", "out.csv", "--offline")

    assert ran.code == 2
    assert "no language model" in ran.err
    assert not list(orders.folder.glob("*.parts"))


def test_a_vendor_without_batches_has_no_offline_run(command, server: BatchServer) -> None:
    settle_in(command, server)
    command.settings(SETTINGS.format(kind="vllm", url=f"{server.url}/v1", batch=""))
    write_tickets(command.folder, 2)

    ran = command(*JOB)

    assert ran.code == 2
    assert "no batch endpoint" in ran.err


def test_rows_whose_context_fails_are_not_sent_and_fail(command, server: BatchServer) -> None:
    settle_in(command, server)
    declare(
        command,
        "    def decide(",
        """    async def context(self, ticket: Ticket, look: splice.Lookup) -> dict:
        if ticket.customer == "c1":
            raise LookupError("nobody of that name")
        return {"text": ticket.text}

    def decide(""",
    )
    write_tickets(command.folder, 3)

    ran = command(*JOB, "--json")

    assert (ran.json["answered"], ran.json["failed"]) == (2, 1)
    assert replies(command.folder)[1]["reason"] == "context_failed"
    assert len(server.ran) == 2


def test_who_is_held_out_gets_the_rule_and_no_batch_hears_of_him(
    command: Any, server: BatchServer
) -> None:
    settle_in(command, server)
    line = 'deadline = "5 s"'
    declare(command, line, f'{line}\n    holdout = splice.Holdout("50 %")')
    write_tickets(command.folder, 30)

    ran = command(*JOB, "--json")

    assert ran.code == 0, ran.err
    calls = listed(command)
    out = [one for one in calls if one["route"].endswith("@holdout")]
    assert 5 < len(out) < 25
    assert {one["route"] for one in calls if one not in out} == {"llm:remote/small"}
    assert sum(len(batch.requests) for batch in server.batches) == 30 - len(out)
