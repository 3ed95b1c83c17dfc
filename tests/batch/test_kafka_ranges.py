"""`splice batch` over what a topic holds, on a real Kafka."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pytest

from splice.serve.batch import job

pytest.importorskip("confluent_kafka")
sys.path.append(str(Path(__file__).parents[1] / "events"))

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from kafka_house import PATIENCE_S, Topics


def order(customer: str, amount: float = 1.0) -> bytes:
    return json.dumps({"customer": customer, "amount_eur": amount}).encode()


class Stream:
    """One topic of three partitions."""

    def __init__(self, servers: str, topics: Topics) -> None:
        self.servers = servers
        self.name = topics.make(partitions=3)
        self._producer = Producer({"bootstrap.servers": servers})

    def write(self, partition: int, *values: bytes | None, at_ms: int = 0, **headers) -> None:
        """Records of one partition."""
        for value in values:
            self._producer.produce(
                self.name, value, partition=partition, timestamp=at_ms, headers=headers
            )
        assert self._producer.flush(PATIENCE_S) == 0


@pytest.fixture
def stream(kafka: str):
    topics = Topics(kafka)
    yield Stream(kafka, topics)
    topics.delete()


@pytest.fixture
def project(orders, kafka: str):
    orders.settings(f'[project]\nmodules = ["integrations"]\n[kafka]\nservers = "{kafka}"\n')
    orders("release", "apply", "-y")
    return orders


def ask(command, stream: Stream, *arguments: str):
    return command(
        "batch", "order-screening", f"kafka:{stream.name}", "-o", "out.jsonl", "--json", *arguments
    )


def lines(command) -> list[dict]:
    return [json.loads(line) for line in (command.folder / "out.jsonl").read_text().splitlines()]


def places(command, stream: Stream) -> list[str]:
    return [one["key"].removeprefix(f"{stream.name}/") for one in lines(command)]


@pytest.mark.kafka
def test_a_topic_is_read_once_and_by_no_group(project, stream: Stream) -> None:
    event = {
        "specversion": "1.0", "id": "e1", "source": "/shop", "type": "ordered",
        "data": {"customer": "c", "amount_eur": 900},
    }  # fmt: skip
    stream.write(0, order("a"), None, b"{", order("", 1), json.dumps(event).encode())
    stream.write(
        2, order("b", 700), ce_specversion=b"1.0", ce_id=b"e2", ce_source=b"/s", ce_type=b"t"
    )

    ran = ask(project, stream)

    assert ran.code == 0, ran.err
    assert (ran.json["rows"], ran.json["answered"], ran.json["invalid"]) == (6, 3, 3)
    assert places(project, stream) == ["0/0", "0/1", "0/2", "0/3", "0/4", "2/0"]
    assert [one.get("reply", {}).get("action") for one in lines(project)] == [
        "ship", None, None, None, "review", "review",
    ]  # fmt: skip
    tombstone, broken, empty = (one["error"] for one in lines(project)[1:4])
    assert "tombstone" in tombstone
    assert "order-screening.input[0/2]" in broken
    assert "customer" in empty
    # A client that nobody holds ends, and takes what it was asked with it.
    admin = AdminClient({"bootstrap.servers": stream.servers})
    groups = admin.list_consumer_groups().result(PATIENCE_S)
    assert "splice-history" not in {one.group_id for one in groups.valid}


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        (("--from-offset", "2"), ["0/2", "0/3", "1/2", "1/3"]),
        (("--from-offset", "0:3,1:2"), ["0/3", "1/2", "1/3"]),
        (("--from-offset", "1", "--to-offset", "0:3,1:2"), ["0/1", "0/2", "1/1"]),
        (("--to-offset", "1"), ["0/0", "1/0"]),
        (("--from-offset", "99"), []),
        (("--since", "2026-01-01T00:00:02+00:00"), ["0/2", "0/3", "1/2", "1/3"]),
        (("--since", "2026-01-01T00:00:01", "--until", "2026-01-01T00:00:02"), ["0/1", "1/1"]),
        (("--since", "2027-01-01"), []),
    ],
)
def test_a_part_of_it_may_be_read(project, stream: Stream, arguments, read: list[str]) -> None:
    new_year_ms = 1_767_225_600_000
    for second in range(4):
        for partition in (0, 1):
            stream.write(partition, order(f"c{second}"), at_ms=new_year_ms + 1000 * second)

    ran = ask(project, stream, *arguments)

    assert ran.code == 0, ran.err
    assert places(project, stream) == read


@pytest.mark.kafka
def test_a_run_that_goes_on_reads_up_to_the_end_of_the_first(
    project, stream: Stream, monkeypatch
) -> None:
    monkeypatch.setattr(job, "CHUNK", 10)
    for partition in range(3):
        stream.write(partition, *(order(f"c{partition}-{n}") for n in range(12)))
    real, written = job.write_whole, Counter[str]()

    def dying(file: Path, content: bytes) -> None:
        written["parts"] += file.suffix == ".jsonl"
        if written["parts"] > 2:
            raise KeyboardInterrupt
        real(file, content)

    with monkeypatch.context() as patch:
        patch.setattr(job, "write_whole", dying)
        ask(project, stream)
    for partition in range(3):
        stream.write(partition, order("later"))

    other = ask(project, stream, "--from-offset", "1")
    ran = ask(project, stream)

    assert other.code == 2
    assert "Put them back, or remove out.jsonl.parts" in other.err
    # Two parts, and ten rows that were in the ledger without one.
    assert (ran.json["rows"], ran.json["answered"], ran.json["resumed"]) == (36, 36, 30)
    assert places(project, stream) == [f"{p}/{n}" for p in range(3) for n in range(12)]
    assert len(project("calls", "list", "--json", "--limit", "1000").json) == 36


@pytest.mark.kafka
def test_what_is_not_kept_any_more_is_said(project, stream: Stream) -> None:
    from confluent_kafka import TopicPartition

    stream.write(1, *(order(f"c{n}") for n in range(5)))
    admin = AdminClient({"bootstrap.servers": stream.servers})
    for gone in admin.delete_records([TopicPartition(stream.name, 1, 3)]).values():
        gone.result(PATIENCE_S)

    refused = ask(project, stream, "--from-offset", "1:2")
    ran = ask(project, stream)

    assert refused.code == 2
    assert "2, which partition 1 does not keep any more, expected 3 or later" in refused.err
    assert not list(project.folder.glob("*.parts"))
    assert ran.code == 0
    assert places(project, stream) == ["1/3", "1/4"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("kafka:orders",), "kafka.servers: got nothing"),
        (("kafka:orders", "--from-offset", "x"), "--from-offset: got x"),
        (("kafka:orders", "--from-offset", "0:1,0:2"), "expected an offset, or PARTITION:OFFSET"),
        (("kafka:orders", "--to-offset", "-3"), "--to-offset: got -3"),
        (("kafka:orders", "--since", "yesterday"), "expected a time such as"),
        (("kafka:orders", "--since", "2026-01-01", "--from-offset", "1"), "--since besides"),
        (("kafka:orders", "--query", "SELECT 1"), "a database as the source"),
        (("in.csv", "--since", "2026-01-01"), "a source that is no topic"),
        (("in.csv", "--out", "kafka:decisions"), "splice consume sends decisions"),
    ],
)
def test_what_names_no_part_of_a_topic_is_refused(orders, arguments, said: str) -> None:
    orders("release", "apply", "-y")
    orders.write("in.csv", "customer,amount_eur\n")

    ran = orders("batch", "order-screening", "--out", "out.jsonl", *arguments)

    assert ran.code == 2
    assert said in " ".join(ran.err.split())
    assert not list(orders.folder.glob("*.parts"))


@pytest.mark.kafka
def test_a_topic_that_is_not_there_is_said(project) -> None:
    ran = project("batch", "order-screening", "kafka:splice-test-nowhere", "-o", "out.jsonl")

    assert ran.code != 0
    assert "kafka:splice-test-nowhere" in ran.err
    assert not list(project.folder.glob("*.parts"))
