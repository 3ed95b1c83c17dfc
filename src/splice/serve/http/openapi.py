"""OpenAPI 3.1 of what is live, made from the declared types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from splice.core.release import Manifest
from splice.serve.adopt import REF, adopt
from splice.serve.http.desk import CallAnswer, CallShown, OutcomeIn, OutcomesTaken
from splice.serve.http.events_page import EventTaken
from splice.serve.http.openapi_reviews import OWN, review_paths
from splice.serve.http.problems import ProblemDetails
from splice.serve.http.subjects_page import OWN as SUBJECTS
from splice.serve.http.subjects_page import subject_paths

_OWN = (
    EventTaken,
    CallAnswer,
    CallShown,
    OutcomeIn,
    OutcomesTaken,
    ProblemDetails,
    *OWN,
    *SUBJECTS,
)
_ONE_OF_TWO = {
    "oneOf": [
        {"required": [this], "properties": {this: {"type": "string"}, that: {"type": "null"}}}
        for this, that in (("call_id", "entity"), ("entity", "call_id"))
    ]
}


def document(manifests: Sequence[Manifest], root_path: str = "") -> dict[str, Any]:
    """The document of these integrations and of the paths that every server has."""
    (_, own) = msgspec.json.schema_components(_OWN, ref_template=REF + "{name}")
    schemas: dict[str, Any] = dict(own)
    schemas["OutcomeIn"] = {**schemas["OutcomeIn"], **_ONE_OF_TWO}
    paths: dict[str, Any] = {}
    for manifest in sorted(manifests, key=lambda one: one.integration):
        path = f"/v1/integrations/{manifest.integration}"
        paths[f"{path}/calls"] = {"post": _call(manifest, schemas)}
        paths[f"{path}/events"] = {"post": _publish(manifest)}
    paths.update(_fixed_paths())
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Splice",
            "version": "1",
            # Whoever speaks another protocol has its own description; two of one would differ.
            "description": "Calls of the live integrations, events that they answer later, and "
            "records and outcomes of both. Events may be CloudEvents as well (1.0, HTTP binding: "
            "binary, structured and batched). The "
            "Open Inference Protocol (`/v2`), SageMaker's `/invocations`, and the APIs of OpenAI, "
            "Anthropic and MCP are served too, as those who made them describe them.",
        },
        "paths": paths,
        "components": {"schemas": schemas},
    }
    if root_path:
        document["servers"] = [{"url": root_path}]
    return document


def _call(manifest: Manifest, schemas: dict[str, Any]) -> dict[str, Any]:
    prefix = "".join(part.capitalize() for part in manifest.integration.split("-"))
    request = adopt(manifest.request_schema, f"{prefix}Request", schemas)
    reply = adopt(manifest.reply_schema, f"{prefix}Reply", schemas)
    answer: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(schemas["CallAnswer"]))
    answer["title"] = f"{prefix}Answer"
    answer["properties"]["reply"] = reply
    schemas[f"{prefix}Answer"] = answer
    key = _key("The same key with the same body gets the first stored answer.")
    first, _, _ = manifest.purpose.partition("\n")
    return {
        "operationId": f"call_{manifest.integration.replace('-', '_')}",
        "summary": first,
        "description": manifest.purpose,
        "parameters": [key],
        "requestBody": {"required": True, "content": {"application/json": {"schema": request}}},
        "responses": {
            "200": {
                "description": "The reply, with the route that gave it.",
                "headers": {
                    "Splice-Call-Id": {"schema": {"type": "string", "format": "uuid"}},
                    "Idempotent-Replayed": {"schema": {"type": "string", "enum": ["true"]}},
                },
                "content": {"application/json": {"schema": {"$ref": f"{REF}{prefix}Answer"}}},
            },
            **_problems(400, 404, 409, 413, 415, 422, 500, 503),
        },
    }


def _publish(manifest: Manifest) -> dict[str, Any]:
    prefix = "".join(part.capitalize() for part in manifest.integration.split("-"))
    request = {"$ref": f"{REF}{prefix}Request"}
    first, _, _ = manifest.purpose.partition("\n")
    return {
        "operationId": f"publish_{manifest.integration.replace('-', '_')}",
        "summary": f"To be answered later: {first}",
        "description": "Stored when this answers; `splice consume` then answers it.",
        "parameters": [_key("Events with the same key are answered once.")],
        "requestBody": {"required": True, "content": {"application/json": {"schema": request}}},
        "responses": {
            **_ok("The event is stored.", {"$ref": f"{REF}EventTaken"}, 202),
            **_problems(400, 404, 413, 415, 422, 503),
        },
    }


def _key(description: str) -> dict[str, Any]:
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    }


_TITLES = {
    400: "The body is not JSON, or did not arrive",
    403: "Who asks may not, or not alone",
    404: "There is no such thing",
    409: "Another is at it, or has done it",
    413: "The body is too large",
    415: "The body is not declared as JSON",
    422: "The body or the query is well formed, but not what was declared",
    500: "The integration's own code failed",
    503: "Not now: stopped, overloaded, no route answered, or the ledger is away",
}


def _problems(*statuses: int) -> dict[str, Any]:
    schema = {"$ref": f"{REF}ProblemDetails"}
    return {
        str(status): {
            "description": _TITLES[status],
            "content": {"application/problem+json": {"schema": schema}},
        }
        for status in statuses
    }


def _ok(description: str, schema: dict[str, Any], status: int = 200) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    return {str(status): {"description": description, "content": content}}


def _query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema}


_ANYTHING: dict[str, Any] = {"type": "object"}
_CALL_ID: dict[str, Any] = {"type": "string", "format": "uuid"}


def _fixed_paths() -> dict[str, Any]:
    return {
        **_call_paths(), **_outcome_paths(), **review_paths(_problems),
        **subject_paths(_problems), **_probe_paths()
    }  # fmt: skip


def _call_paths() -> dict[str, Any]:
    number = {"type": "integer", "minimum": 0, "maximum": (1 << 62) - 1}
    listing = {
        "type": "object",
        "required": ["calls", "next"],
        "properties": {
            "calls": {"type": "array", "items": {"$ref": f"{REF}CallShown"}},
            "next": {"type": ["string", "null"]},
        },
    }
    query = [
        _query("integration", {"type": "string"}),
        _query("entity", {"type": "string"}),
        _query("status", {"type": "string", "enum": ["answered", "failed", "refused"]}),
        _query("route", {"type": "string"}),
        _query("release", number),
        _query("since_us", number),
        _query("before_id", _CALL_ID),
        _query("limit", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 50}),
    ]
    find = {
        "operationId": "find_calls",
        "summary": "Recorded calls, newest first, without payloads",
        "parameters": query,
        "responses": {**_ok("A page of calls.", listing), **_problems(422, 503)},
    }
    get = {
        "operationId": "get_call",
        "summary": "One call: asked, gathered, tried, answered, cost, and its outcomes",
        "parameters": [{"name": "call_id", "in": "path", "required": True, "schema": _CALL_ID}],
        "responses": {
            **_ok("The call.", {"$ref": f"{REF}CallShown"}),
            **_problems(404, 503),
        },
    }
    return {"/v1/calls": {"get": find}, "/v1/calls/{call_id}": {"get": get}}


def _outcome_paths() -> dict[str, Any]:
    outcome = {"$ref": f"{REF}OutcomeIn"}
    outcomes = {"anyOf": [outcome, {"type": "array", "items": outcome, "maxItems": 10_000}]}
    post = {
        "operationId": "post_outcomes",
        "summary": "What really happened, by call id or by entity key, one or many",
        "requestBody": {"required": True, "content": {"application/json": {"schema": outcomes}}},
        "responses": {
            **_ok("Kept.", {"$ref": f"{REF}OutcomesTaken"}, 201),
            **_problems(400, 404, 413, 415, 422, 503),
        },
    }
    return {"/v1/outcomes": {"post": post}}


def _probe_paths() -> dict[str, Any]:
    live = _get("integrations", "What is live", "Name, release, risk and routes of each.")
    alive = _get("healthz", "The process is alive", "Alive.")
    ready = _get(
        "readyz", "Whether calls are answered, and what is in the way", "Ready; may be degraded."
    )
    ready["get"]["responses"]["503"] = {
        "description": "Not ready.",
        "content": {"application/json": {"schema": _ANYTHING}},
    }
    metrics = _get("metrics", "Metrics in Prometheus text", "")
    metrics["get"]["responses"]["200"] = {
        "description": "All workers together.",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
    return {
        "/v1/integrations": live,
        "/healthz": alive,
        "/readyz": ready,
        "/metrics": metrics,
    }


def _get(operation: str, summary: str, description: str) -> dict[str, Any]:
    responses = _ok(description, _ANYTHING)
    return {"get": {"operationId": operation, "summary": summary, "responses": responses}}
