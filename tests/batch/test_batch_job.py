"""`splice batch`: every row answered once, in order, whatever happens in between."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from splice.serve.batch import job

ENDINGS = (".csv", ".jsonl", ".parquet")


def write_orders(file: Path, count: int, bad: int | None = None) -> Path:
    amounts = [float(i % 1000) for i in range(count)]
    orders = [{"customer": f"c{i}", "amount_eur": a} for i, a in enumerate(amounts)]
    if bad is not None:
        orders[bad]["customer"] = ""
    if file.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(orders), file)
    elif file.suffix == ".csv":
        with file.open("w", newline="") as out:
            writer = csv.DictWriter(out, ["customer", "amount_eur"])
            writer.writeheader()
            writer.writerows(orders)
    else:
        file.write_text("".join(json.dumps(one) + "\n" for one in orders))
    return file


def read_replies(file: Path) -> list[dict]:
    """The lines of a result, with the fields of the reply among them, all as texts."""
    if file.suffix == ".csv":
        with file.open(newline="") as text:
            return list(csv.DictReader(text))
    if file.suffix == ".parquet":
        found = pq.read_table(file).to_pylist()
    else:
        found = [json.loads(line) for line in file.read_text().splitlines()]
        found = [{**one, **(one.pop("reply", None) or {})} for one in found]
    return [{k: "" if v is None else str(v) for k, v in one.items()} for one in found]


def calls(command) -> int:
    """Calls in the ledger."""
    out = command("calls", "list", "--json", "--limit", "1000").json
    return len(out)


@pytest.mark.parametrize(("source", "target"), [
    (".csv", ".jsonl"), (".jsonl", ".parquet"), (".parquet", ".csv"), (".csv", ".csv"),
])  # fmt: skip
def test_every_row_is_answered_in_its_place(orders, source: str, target: str) -> None:
    orders("release", "apply", "-y")
    write_orders(orders.folder / f"in{source}", 30, bad=7)

    ran = orders("batch", "order-screening", f"in{source}", "-o", f"out{target}", "--json")

    assert ran.code == 0
    counted = ran.json
    assert (counted["rows"], counted["answered"], counted["invalid"]) == (30, 29, 1)
    replies = read_replies(orders.folder / f"out{target}")
    assert [int(one["row"]) for one in replies] == list(range(30))
    assert Counter(one["status"] for one in replies) == {"answered": 29, "invalid": 1}
    assert "customer" in replies[7]["error"]
    assert replies[8]["action"] == "ship"
    assert float(replies[8]["risk"]) == 0.1
    assert calls(orders) == 29
    assert not list(orders.folder.glob("*.parts"))


def test_progress_goes_to_stderr_and_the_summary_to_stdout(orders) -> None:
    orders("release", "apply", "-y")
    write_orders(orders.folder / "in.csv", 3)

    ran = orders("batch", "order-screening", "in.csv", "-o", "out.csv")

    assert ran.out.startswith("3 rows: 3 answered, 0 failed, 0 not of the request type; 0 from")
    assert "%" in ran.err


def test_a_target_in_capitals_is_of_its_kind(orders) -> None:
    orders("release", "apply", "-y")
    write_orders(orders.folder / "in.csv", 3)

    orders("batch", "order-screening", "in.csv", "-o", "OUT.JSONL")

    assert len((orders.folder / "OUT.JSONL").read_text().splitlines()) == 3


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_input_of_no_rows_gives_an_output_of_no_rows(orders, ending: str) -> None:
    orders("release", "apply", "-y")
    orders.write("in.csv", "customer,amount_eur\n")

    ran = orders("batch", "order-screening", "in.csv", "-o", f"out{ending}", "--json")

    assert ran.json["rows"] == 0
    assert read_replies(orders.folder / f"out{ending}") == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("order-screening", "in.csv", "-o", "there.csv"), 2, "Add --overwrite"),
        (("order-screening", "in.csv", "-o", "in.csv", "--overwrite"), 2, "the input itself"),
        (("order-screening", "in.csv", "-o", "dir.csv", "--overwrite"), 2, "a folder"),
        (("order-screening", "in.csv", "-o", "no/such/dir/out.csv"), 2, "No such file"),
        (("order-screening", "in.csv", "-o", "there.csv/out.csv"), 2, "Not a directory"),
        (("order-screening", "gone.csv", "-o", "out.csv"), 2, "No such file"),
        (("order-screening", "in.txt", "-o", "out.csv"), 2, "ending in .txt"),
        (("order-screening", "in.csv", "-o", "out.txt"), 2, "ending in .txt"),
        (("nobody", "in.csv", "-o", "out.csv"), 2, "no live release"),
        (("order-screening", "in.csv", "-o", "out.csv", "--release", "9"), 2, "no release 9"),
        (("order-screening", "in.csv"), 2, "--out"),
        (("order-screening", "in.csv", "-o", "o.csv", "--concurrency", "0"), 2, "concurrency"),
    ],
)
def test_a_job_that_cannot_be_is_refused_before_the_first_call(
    orders, arguments: tuple[str, ...], code: int, said: str
) -> None:
    orders("release", "apply", "-y")
    write_orders(orders.folder / "in.csv", 3)
    orders.write("there.csv", "x\n")
    (orders.folder / "dir.csv").mkdir()

    ran = orders("batch", *arguments)

    assert ran.code == code
    assert said in " ".join(ran.err.split())
    assert calls(orders) == 0
    assert (orders.folder / "there.csv").read_text() == "x\n"


def test_asking_makes_no_release(orders) -> None:
    orders.settings('[project]\nmodules = ["integrations"]\napply = "new"\n')
    write_orders(orders.folder / "in.csv", 3)

    ran = orders("batch", "order-screening", "in.csv", "-o", "out.csv")

    assert ran.code == 2
    assert orders("release", "list", "--json").json == []


def test_an_older_release_can_be_asked(applied, orders) -> None:
    applied("")
    applied("0.9 if=>0.8 if")
    orders.write("in.jsonl", '{"customer":"a","amount_eur":600}\n')

    for number, risk in ((1, 0.9), (2, 0.8)):
        out = orders.folder / f"{number}.jsonl"
        orders("batch", "order-screening", "in.jsonl", "-o", out, "--release", str(number))
        assert float(read_replies(out)[0]["risk"]) == risk


@pytest.mark.parametrize("release", [(), ("--release", "1")])
def test_a_stopped_integration_answers_no_row_by_any_release(applied, orders, release) -> None:
    applied("")
    applied("0.9 if=>0.8 if")
    write_orders(orders.folder / "in.csv", 3)
    orders("stop", "order-screening", "--why", "looking into it")

    ran = orders("batch", "order-screening", "in.csv", "-o", "out.csv", *release)

    assert ran.code == 1
    assert "switched off: looking into it" in ran.err
    assert calls(orders) == 0
    assert not (orders.folder / "out.csv").exists()


def test_a_job_that_was_stopped_goes_on_when_the_integration_is_started(
    orders, monkeypatch
) -> None:
    monkeypatch.setattr(job, "CHUNK", 10)
    orders("release", "apply", "-y")
    write_orders(orders.folder / "in.csv", 30)
    orders("stop", "order-screening", "--why", "x")
    orders("batch", "order-screening", "in.csv", "-o", "out.csv")
    orders("start", "order-screening")

    ran = orders("batch", "order-screening", "in.csv", "-o", "out.csv", "--json")

    assert ran.json["answered"] == 30


def cut_short(orders, monkeypatch, after: int) -> None:
    """A job that dies when it writes its nth part."""
    monkeypatch.setattr(job, "CHUNK", 10)
    real, written = job.write_whole, Counter[str]()

    def dying(file: Path, content: bytes) -> None:
        written["parts"] += file.suffix == ".jsonl"
        if written["parts"] > after:
            raise KeyboardInterrupt
        real(file, content)

    with monkeypatch.context() as patch:
        patch.setattr(job, "write_whole", dying)
        orders("batch", "order-screening", "in.csv", "-o", "out.csv")


def test_a_resumed_job_asks_nothing_twice(orders, monkeypatch) -> None:
    noted = (
        "def scorecard(context):\n"
        "    with open('asked', 'a') as asked:\n"
        "        print(context['customer'], file=asked)\n"
    )
    source = orders.folder / "integrations.py"
    source.write_text(source.read_text().replace("def scorecard(context):\n", noted))
    orders("release", "apply", "-y")
    write_orders(orders.folder / "in.csv", 50, bad=31)
    cut_short(orders, monkeypatch, after=2)

    ran = orders("batch", "order-screening", "in.csv", "-o", "out.csv", "--json")

    # two parts of ten, and ten rows that were in the ledger without a part
    assert (ran.json["rows"], ran.json["resumed"]) == (50, 30)
    replies = read_replies(orders.folder / "out.csv")
    assert [int(one["row"]) for one in replies] == list(range(50))
    assert calls(orders) == 49
    asked = (orders.folder / "asked").read_text().split()
    assert sorted(asked) == sorted(f"c{i}" for i in range(50) if i != 31)


def test_a_kill_while_the_parts_are_put_together_doubles_nothing(orders, monkeypatch) -> None:
    orders("release", "apply", "-y")
    write_orders(orders.folder / "in.csv", 20)
    cut_short(orders, monkeypatch, after=1)
    parts = orders.folder / "out.csv.parts"
    (parts / "whole.jsonl").write_bytes((parts / "00000000.jsonl").read_bytes())
    (parts / "00000001.partial").write_bytes(b"{")

    ran = orders("batch", "order-screening", "in.csv", "-o", "out.csv", "--json")

    assert ran.json["rows"] == 20
    assert len(read_replies(orders.folder / "out.csv")) == 20


def test_parts_without_a_plan_are_not_taken_for_this_jobs(orders, monkeypatch) -> None:
    orders("release", "apply", "-y")
    write_orders(orders.folder / "in.csv", 20)
    cut_short(orders, monkeypatch, after=1)
    (orders.folder / "out.csv.parts" / "job.json").unlink()
    write_orders(orders.folder / "in.csv", 10)

    ran = orders("batch", "order-screening", "in.csv", "-o", "out.csv", "--json")

    assert (ran.json["rows"], ran.json["resumed"]) == (10, 0)


def test_a_job_does_not_go_on_over_another_input(orders, monkeypatch) -> None:
    orders("release", "apply", "-y")
    write_orders(orders.folder / "in.csv", 30)
    cut_short(orders, monkeypatch, after=1)
    write_orders(orders.folder / "in.csv", 30, bad=3)

    ran = orders("batch", "order-screening", "in.csv", "-o", "out.csv")

    assert ran.code == 2
    assert "Put them back, or remove out.csv.parts" in ran.err


def test_a_job_goes_on_by_the_release_that_it_began_with(applied, orders, monkeypatch) -> None:
    applied("")
    write_orders(orders.folder / "in.csv", 30)
    cut_short(orders, monkeypatch, after=1)
    applied("0.9 if=>0.8 if")

    refused = orders("batch", "order-screening", "in.csv", "-o", "out.csv")
    ran = orders("batch", "order-screening", "in.csv", "-o", "out.csv", "--release", "1", "--json")

    assert refused.code == 2
    assert "Go on with --release 1" in refused.err
    assert ran.json["rows"] == 30
    listed = orders("calls", "list", "--json", "--limit", "100").json
    assert {one["release"] for one in listed} == {1}


SLOW = """
    async def context(self, order: Order, look: splice.Lookup) -> dict:
        await asyncio.sleep({seconds})
        return {{"amount_eur": order.amount_eur}}

    def decide"""


def slow_down(command, seconds: float) -> None:
    """Let every call take so long: records reach the ledger while a part is in the making."""
    file = command.folder / "integrations.py"
    text = file.read_text().replace("    def decide", SLOW.format(seconds=seconds).lstrip("\n"))
    file.write_text("import asyncio\n" + text.replace("200 ms", "60 s"))


def test_an_interrupted_job_lets_its_running_calls_end(orders) -> None:
    slow_down(orders, 0.05)
    orders("release", "apply", "-y")
    write_orders(orders.folder / "in.csv", 300)
    arguments = ("batch", "order-screening", "in.csv", "-o", "out.csv", "--concurrency", "10")
    running = subprocess.Popen(
        [sys.executable, "-m", "splice.cli.main", *arguments], cwd=orders.folder,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while not (orders.folder / "out.csv.parts/job.json").exists():
        time.sleep(0.01)
    time.sleep(0.3)
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=30)

    ran = orders(*arguments, "--json")

    assert ran.code == 0, ran.err
    assert 0 < ran.json["resumed"] < 300
    assert ran.json["answered"] == 300
    assert calls(orders) == 300


ROWS = 20_000


def test_ten_kills_lose_no_row_and_double_none(orders) -> None:
    chance = random.Random(7)
    slow_down(orders, 0.006)
    orders("release", "apply", "-y")
    write_orders(orders.folder / "in.csv", ROWS, bad=12_345)
    arguments = [sys.executable, "-m", "splice.cli.main", "batch", "order-screening",
                 "in.csv", "-o", "out.csv"]  # fmt: skip
    parts = orders.folder / "out.csv.parts"
    for turn in range(10):
        before = len(list(parts.glob("*.jsonl")))
        running = subprocess.Popen(
            arguments, cwd=orders.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        began = time.monotonic()
        # In the middle of the next part, and now and then wherever it happens to be.
        while running.poll() is None and (
            len(list(parts.glob("*.jsonl"))) <= before
            if turn % 3
            else time.monotonic() - began < 0.4 + chance.random()
        ):
            time.sleep(0.001)
        time.sleep(chance.random() * 0.06)
        ended = running.poll()
        os.kill(running.pid, signal.SIGKILL)
        _, said = running.communicate()
        assert ended is None, f"it ended before it could be killed: {said.decode()[-2000:]}"

    ran = orders("batch", "order-screening", "in.csv", "-o", "out.csv", "--json")

    assert (ran.json["rows"], ran.json["answered"], ran.json["invalid"]) == (ROWS, ROWS - 1, 1)
    replies = read_replies(orders.folder / "out.csv")
    assert [int(one["row"]) for one in replies] == list(range(ROWS))
    assert [one["action"] for one in replies[:1000]] == ["ship"] * 501 + ["review"] * 499
    ids = [one["call_id"] for one in replies if one["call_id"]]
    assert len(set(ids)) == ROWS - 1
    from splice.app.settings import load
    from splice.app.wiring import Stores

    stores = Stores(load(orders.folder))
    assert stores.records.count() == ROWS - 1
    assert len(stores.records.get_many(ids[::100])) == len(ids[::100])
    stores.close()
