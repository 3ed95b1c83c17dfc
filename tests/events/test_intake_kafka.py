"""The document example with a real Kafka and a real PostgreSQL, and a consumer that is killed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from kafka_house import Topics, read, reader
from sqlalchemy import create_engine, text
from stream_house import Consume, until

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

import demo_documents
from document_intake import samples

TOML = """
[project]
modules = ["document_intake.integration"]

[ledger]
url = "{ledger}"

[kafka]
servers = "{kafka}"
options = {{ "session.timeout.ms" = 6000 }}   # how soon the group misses who was killed

[consume.document-intake]
source = "kafka:{uploads}"
targets = ["kafka:{decisions}", "table:documents"]
exactly_once = true
max_in_flight = 2
max_batch = 2

[relay.uploads]
url_env = "UPLOADS_DATABASE"
targets = ["kafka:{uploads}"]
poll_seconds = 0.05
"""


def splice(project: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "splice.cli.main", *arguments]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.kafka
@pytest.mark.postgres
@pytest.mark.model
def test_every_upload_is_decided_once_on_kafka_and_in_postgresql_though_the_consumer_is_killed(
    kafka: str,
    topics: Topics,
    postgres_database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uploaded, decided = topics.make(2), topics.make()
    project = tmp_path / "project"
    (project / "models").mkdir(parents=True)
    names = {"ledger": postgres_database, "kafka": kafka, "uploads": uploaded, "decisions": decided}
    (project / "splice.toml").write_text(TOML.format_map(names))
    demo_documents.train(tmp_path / "build")
    demo_documents.write(project, tmp_path / "build")
    monkeypatch.setenv("DOCUMENT_STORE", str(project / "documents"))
    monkeypatch.setenv("UPLOADS_DATABASE", postgres_database)
    splice(project, "release", "apply", "--yes")
    given = {one.name: one for one in [*samples.documents()[:5], *samples.oddities()[:5]]}
    with demo_documents.service(project, postgres_database, postgres_database) as address:
        ids = {name: demo_documents.upload(address, one) for name, one in given.items()}
        # A caller who got no answer sends the file again: no second event comes of it.
        assert demo_documents.upload(address, next(iter(given.values()))) in ids.values()
        splice(project, "relay", "--until-empty")
        consume = Consume(project).ready()
        try:
            first = next(iter(ids.values()))
            until(lambda: demo_documents.decision(address, first), "the first decision")
            consume.kill_worker()
            until(
                lambda: all(demo_documents.decision(address, one) for one in ids.values()),
                "a decision on each document",
            )
        finally:
            assert consume.stop() == 0, consume.text
        answers = {name: demo_documents.decision(address, one) for name, one in ids.items()}

    assert "started again" in consume.text
    for name, one in given.items():
        expected = ("reject", None) if one.kind is None else ("accept", one.kind)
        assert (answers[name]["action"], answers[name]["kind"]) == expected, answers[name]
    engine = create_engine(postgres_database.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT key, value, id FROM documents")).all()
        (waiting,) = connection.execute(text("SELECT count(*) FROM outbox")).one()
    engine.dispose()
    assert sorted(row.key for row in rows) == sorted(ids.values())
    assert waiting == 0
    with reader(kafka, decided, isolation_level="read_committed") as consumer:
        published = [json.loads(one.value()) for one in read(consumer, len(ids))]
        assert consumer.poll(2) is None
    by_document = {one["document"]: one for one in published}
    assert by_document == {row.key: json.loads(row.value) for row in rows}
