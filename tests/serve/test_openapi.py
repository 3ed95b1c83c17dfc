"""The document says what the server does, and the server does what the document says."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate
from prometheus_client.parser import text_string_to_metric_families

from splice.engine import observe
from splice.engine.exposition import prometheus_text
from splice.testing.project import Project, Server

GOOD = {"customer": "c-1", "amount": 5.0}
PATHS = {
    "/v1/integrations/orders/calls": {"POST"},
    "/v1/integrations/orders/events": {"POST"},
    "/v1/integrations": {"GET"},
    "/v1/calls": {"GET"},
    "/v1/calls/00000000-0000-0000-0000-000000000000": {"GET"},
    "/v1/outcomes": {"POST"},
    "/healthz": {"GET"},
    "/readyz": {"GET"},
    "/metrics": {"GET"},
    "/openapi.json": {"GET"},
}


def test_the_document_is_valid_openapi(server: Server) -> None:
    validate(server.get("/openapi.json").json)


def test_every_live_integration_has_its_own_types_in_the_document(server: Server) -> None:
    document = server.get("/openapi.json").json

    schemas = document["components"]["schemas"]
    call = document["paths"]["/v1/integrations/high-orders/calls"]["post"]
    request = call["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    shown = schemas[request.rpartition("/")[2]]
    assert shown["required"] == ["customer", "amount"]
    assert shown["additionalProperties"] is False
    assert call["summary"].startswith("Find the orders that will not be paid")


@pytest.mark.parametrize(("path", "takes"), PATHS.items())
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS"])
def test_a_method_that_a_path_does_not_take_is_refused_and_those_it_takes_are_named(
    server: Server, path: str, takes: set[str], method: str
) -> None:
    if method in takes:
        return

    answer = server.ask(method, path, b"{}" if method in ("POST", "PUT", "PATCH") else None)

    assert answer.status == 405, answer
    assert {one.strip() for one in answer.headers["allow"].split(",")} - {"HEAD"} == takes
    assert answer.json["status"] == 405


def test_the_document_holds_in_a_schemathesis_run_with_all_its_checks(
    server: Server, tmp_path: Path
) -> None:
    document = server.get("/openapi.json").json
    for path in document["paths"].values():
        # Keys have a memory, which a schema cannot say: one with another body is refused, as told.
        post = path.get("post", {})
        if "parameters" in post:
            post["parameters"] = [one for one in post["parameters"] if one["in"] != "header"]
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(document))

    ran = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "run", str(file), "--url", server.url,
            "--max-examples", "25", "--seed", "1", "--workers", "2", "--request-timeout", "10",
            "--generation-database", "none", "--no-color",
            "--exclude-path-regex", "/(waits|faults)/calls|/(waits|faults|high-orders)/events",
        ],
        capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path,
    )  # fmt: skip

    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]


def samples(server: Server) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = server.get("/metrics").body.decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(found: dict[Any, float], name: str, **labels: str) -> float:
    return sum(
        value
        for (sample, has), value in found.items()
        if sample == name and labels.items() <= dict(has).items()
    )


def test_the_metrics_of_two_workers_add_up(project: Project) -> None:
    with project.serve(workers=2) as pair:
        for number in range(300):
            with contextlib.closing(pair.connection()) as one:
                one.post("/v1/integrations/orders/calls", {**GOOD, "amount": number * 10})
        for _ in range(20):
            pair.post("/v1/integrations/orders/calls", b"{")
        pair.post("/v1/outcomes", {"integration": "orders", "name": "n", "value": 1, "entity": "e"})
        time.sleep(1.3)  # workers share what they counted once a second

        scraped = [samples(pair) for _ in range(6)]

    for found in scraped:
        assert total(found, "splice_calls_total", integration="orders") == 300
        assert total(found, "splice_attempts_total", integration="orders") == 300
        assert total(found, "splice_call_duration_seconds_count", integration="orders") == 300
        assert total(found, "splice_call_duration_seconds_bucket", le="+Inf") == 300
        assert total(found, "splice_requests_refused_total", code="malformed_body") == 20
        assert total(found, "splice_outcomes_total") == 1
        assert total(found, "splice_calls_in_flight") == 0
        assert total(found, "splice_release", integration="orders") == 1


def test_counts_beyond_a_million_are_written_whole() -> None:
    cell = [0.0] * (len(observe.SECONDS) + 2)
    cell[3] = 123_456_789.0
    text = prometheus_text({"splice_call_duration_seconds": [(("orders",), cell)]})

    families = {family.name: family for family in text_string_to_metric_families(text)}
    found = {
        sample.value
        for sample in families["splice_call_duration_seconds"].samples
        if sample.name.endswith(("_bucket", "_count"))
    }
    assert found == {0.0, 123_456_789.0}


def test_a_label_with_quotes_and_lines_is_read_back_as_it_was() -> None:
    odd = 'a"b\\c\nd'
    text = prometheus_text({"splice_release": [((odd,), [1.0])]})

    families = {family.name: family for family in text_string_to_metric_families(text)}
    (sample,) = families["splice_release"].samples
    assert sample.labels == {"integration": odd}


def test_health_and_readiness_are_told(server: Server) -> None:
    health, ready = server.get("/healthz"), server.get("/readyz")

    assert (health.status, health.json) == (200, {"status": "alive"})
    assert (ready.status, ready.json["status"], ready.json["not_ready"]) == (200, "ready", [])


def test_a_server_without_an_integration_is_alive_and_not_ready(project: Project) -> None:
    empty = Project(project.folder.parent / "empty")
    empty.declare('"""Nothing yet."""\n')
    with empty.serve() as server:
        ready = server.get("/readyz")
        call = server.post("/v1/integrations/orders/calls", GOOD)

    assert ready.status == 503
    assert ready.json["not_ready"] == ["no integration is live: splice release apply"]
    assert call.status == 404
