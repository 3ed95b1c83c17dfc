"""The Kafka of scripts/services is a real one, can be killed, and says why it cannot be had."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import broker
import pytest
from broker import KAFKA, OWN, Broker, Kafka, NoKafka, java_command, orphans
from confluent_kafka import KafkaError, KafkaException, Producer
from kafka_house import PATIENCE_S, Topics, produce, read, read_all, reader
from peers import MARK

pytestmark = pytest.mark.kafka


def transactional(servers: str, identity: str) -> Producer:
    producer = Producer({"bootstrap.servers": servers, "transactional.id": identity})
    producer.init_transactions(PATIENCE_S)
    return producer


def test_what_was_written_is_read_in_order_with_key_and_headers(kafka: str, topic: str) -> None:
    producer = Producer({"bootstrap.servers": kafka})
    for number in range(100):
        producer.produce(topic, f"{number}", key="k", headers=[("traceparent", b"00-1")])
    producer.flush(PATIENCE_S)

    with reader(kafka, topic) as consumer:
        messages = read(consumer, 100)

    assert [int(message.value() or b"") for message in messages] == list(range(100))
    assert {message.key() for message in messages} == {b"k"}
    assert messages[0].headers() == [("traceparent", b"00-1")]


def test_a_record_of_20_mb_goes_through(kafka: str, topic: str) -> None:
    large = os.urandom(20_000_000)

    produce(kafka, topic, large)

    assert read_all(kafka, topic, 1) == [large]


@pytest.mark.parametrize("compression", ["zstd", "lz4", "snappy", "gzip"])
def test_every_compression_goes_through(kafka: str, topic: str, compression: str) -> None:
    producer = Producer({"bootstrap.servers": kafka, "compression.type": compression})
    producer.produce(topic, b"a" * 10_000)
    producer.flush(PATIENCE_S)

    assert read_all(kafka, topic, 1) == [b"a" * 10_000]


def test_a_committed_offset_is_where_the_next_member_goes_on(kafka: str, topic: str) -> None:
    produce(kafka, topic, b"1", b"2", b"3")
    with reader(kafka, topic, group_id=topic) as first:
        taken = read(first, 2)
        first.commit(message=taken[-1], asynchronous=False)

    assert read_all(kafka, topic, 1, group_id=topic) == [b"3"]


def test_a_reader_of_what_is_committed_never_sees_an_aborted_transaction(
    kafka: str, topic: str
) -> None:
    producer = transactional(kafka, topic)
    producer.begin_transaction()
    producer.produce(topic, b"aborted")
    producer.flush(PATIENCE_S)
    producer.abort_transaction(PATIENCE_S)
    producer.begin_transaction()
    producer.produce(topic, b"committed")
    producer.commit_transaction(PATIENCE_S)

    sees = {
        isolation: read_all(kafka, topic, count, isolation_level=isolation)
        for isolation, count in (("read_committed", 1), ("read_uncommitted", 2))
    }

    assert sees["read_committed"] == [b"committed"]
    assert sees["read_uncommitted"] == [b"aborted", b"committed"]


def test_offsets_go_with_the_transaction_or_not_at_all(kafka: str, topics: Topics) -> None:
    come, go = topics.make(), topics.make()
    produce(kafka, come, b"1", b"2")
    producer = transactional(kafka, come)

    for end in (producer.abort_transaction, producer.commit_transaction):
        with reader(kafka, come, group_id=come) as consumer:
            (message,) = read(consumer, 1)
            producer.begin_transaction()
            producer.produce(go, message.value())
            positions = consumer.position(consumer.assignment())
            producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata())
            end(PATIENCE_S)

    assert read_all(kafka, go, 1, isolation_level="read_committed") == [b"1"]
    assert read_all(kafka, come, 1, group_id=come) == [b"2"]


def test_a_second_producer_of_the_same_id_shuts_the_first_one_out(kafka: str, topic: str) -> None:
    first = transactional(kafka, topic)
    first.begin_transaction()
    first.produce(topic, b"first")
    first.flush(PATIENCE_S)
    second = transactional(kafka, topic)
    second.begin_transaction()
    second.produce(topic, b"second")
    second.commit_transaction(PATIENCE_S)

    with pytest.raises(KafkaException) as refused:
        first.commit_transaction(PATIENCE_S)

    assert refused.value.args[0].code() == KafkaError._FENCED
    assert read_all(kafka, topic, 1, isolation_level="read_committed") == [b"second"]


def test_a_topic_with_a_wrong_name_is_an_error_and_not_a_new_topic(kafka: str) -> None:
    refused: list[KafkaError | None] = []
    producer = Producer({"bootstrap.servers": kafka, "topic.metadata.propagation.max.ms": 100})

    producer.produce("splice-test-nobody", b"1", on_delivery=lambda e, _: refused.append(e))
    producer.flush(PATIENCE_S)

    assert [error and error.code() for error in refused] == [KafkaError.UNKNOWN_TOPIC_OR_PART]


def test_a_broker_that_was_killed_starts_again_with_what_it_had(own_broker: Broker) -> None:
    own_broker.start()
    servers = own_broker.servers
    topic = Topics(servers).make(partitions=3)
    values = [b"%d" % number for number in range(1000)]
    produce(servers, topic, *values)
    with reader(servers, topic, group_id="g") as consumer:
        read(consumer, 1000)
        consumer.commit(asynchronous=False)

    own_broker.kill()
    assert not own_broker.ready()
    own_broker.start()

    assert own_broker.servers == servers
    assert sorted(read_all(servers, topic, 1000)) == sorted(values)
    produce(servers, topic, b"after")
    assert read_all(servers, topic, 1, group_id="g") == [b"after"]


def test_a_broker_that_was_stopped_in_a_transaction_forgets_only_that(own_broker: Broker) -> None:
    own_broker.start()
    topic = Topics(own_broker.servers).make()
    producer = transactional(own_broker.servers, topic)
    producer.begin_transaction()
    producer.produce(topic, b"open")
    producer.flush(PATIENCE_S)

    own_broker.stop()
    own_broker.start()
    again = transactional(own_broker.servers, topic)
    again.begin_transaction()
    again.produce(topic, b"closed")
    again.commit_transaction(PATIENCE_S)

    assert read_all(own_broker.servers, topic, 1, isolation_level="read_committed") == [b"closed"]


def test_a_broker_listens_on_loopback_and_nowhere_else(own_broker: Broker) -> None:
    own_broker.start()
    assert own_broker.process is not None
    process = Path("/proc") / str(own_broker.process.pid)

    links = [os.readlink(link) for link in (process / "fd").iterdir() if link.is_symlink()]
    inodes = {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}
    listening = [
        fields[1].partition(":")[0]
        for table in ("tcp", "tcp6")
        for fields in map(str.split, (process / "net" / table).read_text().splitlines()[1:])
        if fields[3] == "0A" and fields[9] in inodes
    ]

    assert listening == ["0100007F", "0100007F"]  # 127.0.0.1, for clients and for the controller


def test_only_a_broker_whose_starter_is_dead_is_an_orphan(tmp_path: Path) -> None:
    lives = {"env": os.environ | {MARK: f"{OWN}{os.getpid()}"}}
    orphaned = {"env": os.environ | {MARK: f"{OWN}1"}}  # its parent is not who started it
    with (
        subprocess.Popen(["sleep", "600"], **lives) as kept,
        subprocess.Popen(["sleep", "600"], **orphaned) as lost,
    ):
        try:
            # A process that has just begun has no environment yet, for an instant.
            give_up = time.monotonic() + 60
            while lost.pid not in (found := orphans()) and time.monotonic() < give_up:
                time.sleep(0.01)
        finally:
            kept.kill()
            lost.kill()

    assert lost.pid in found
    assert kept.pid not in found


def test_a_folder_whose_format_was_cut_short_is_formatted_again(tmp_path: Path) -> None:
    _needs_jars()
    cut_short = Broker(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "bootstrap.checkpoint").write_bytes(b"half")

    cut_short.command()

    assert (tmp_path / "data" / "meta.properties").exists()


def test_without_java_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)

    with pytest.raises(NoKafka, match="no java found"):
        java_command()


def test_an_old_java_is_told_from_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _program(tmp_path / "java", "echo 'openjdk version \"11.0.2\"' >&2")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("JAVA_HOME", raising=False)

    with pytest.raises(NoKafka, match="Java 17"):
        java_command()


def test_without_maven_it_says_what_to_install(
    elsewhere: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")

    with pytest.raises(NoKafka, match="no mvn found"):
        elsewhere.jars()


def test_a_fetch_that_fails_is_tried_again(elsewhere: Kafka, maven: Path) -> None:
    _needs_jars()
    _program(maven, f'echo >> {maven}.tries\n[ $(wc -l < {maven}.tries) = 3 ] || exit 1\n'
                    f'mkdir -p "$folder" && cp {KAFKA.home}/jars/*.jar "$folder"')  # fmt: skip

    jars = elsewhere.jars()

    assert len(list(jars.glob("*.jar"))) == len(list(KAFKA.jars().glob("*.jar")))


def test_a_fetch_that_never_works_ends(elsewhere: Kafka, maven: Path) -> None:
    _program(maven, "exit 1")

    with pytest.raises(NoKafka, match="in 3 tries"):
        elsewhere.jars()


def test_a_file_that_is_not_the_pinned_one_is_refused(elsewhere: Kafka, maven: Path) -> None:
    _needs_jars()
    _program(maven, f'mkdir -p "$folder" && cp {KAFKA.home}/jars/*.jar "$folder"\n'
                    'echo >> "$folder"/jspecify-1.0.0.jar')  # fmt: skip

    with pytest.raises(NoKafka, match="other files than pinned: jspecify"):
        elsewhere.jars()


def test_a_broker_that_is_given_is_used_and_none_is_started(
    kafka: str, elsewhere: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPLICE_TEST_KAFKA", kafka)

    elsewhere.start()

    assert elsewhere.env == {"SPLICE_TEST_KAFKA": kafka}
    assert elsewhere.ready()
    assert elsewhere.wait() == ""
    assert not (elsewhere.home / "started").exists()


def test_a_given_broker_that_does_not_answer_is_told(
    elsewhere: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPLICE_TEST_KAFKA", "127.0.0.1:1")

    assert "no broker answers" in elsewhere.wait()


def test_a_service_that_nobody_started_is_told_from_one_that_failed(
    elsewhere: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPLICE_TEST_KAFKA", raising=False)
    never = elsewhere.wait()
    (elsewhere.home / "started").write_text("")
    (elsewhere.home / "log").write_text("what went wrong\n")

    failed = elsewhere.wait()

    assert never == "kafka was not started"
    assert failed.endswith("what went wrong")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Kafka:
    """The service in a folder of its own, where nothing was fetched."""
    service = Kafka("kafka")
    service.home = tmp_path / "kafka"
    return service


@pytest.fixture
def maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a test writes an mvn that is found before the real one; it waits for nothing."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(broker, "PAUSE_S", 0)
    return folder / "mvn"


def _program(file: Path, does: str) -> None:
    file.write_text(f'#!/bin/sh\nfor folder; do :; done\nfolder="${{folder#*=}}"\n{does}\n')
    file.chmod(0o755)


def _needs_jars() -> None:
    try:
        KAFKA.jars()
    except NoKafka as why:
        pytest.skip(f"no Kafka: {why}")
