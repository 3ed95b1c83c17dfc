"""The paths of reviews in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from splice.core.reviews import Cause
from splice.serve.adopt import REF
from splice.serve.reviews import (
    AgainIn,
    ApproveIn,
    EscalateIn,
    ExplanationShown,
    OverrideIn,
    ReviewList,
    ReviewShown,
    ReviewWhole,
)

OWN = (
    AgainIn, ApproveIn, EscalateIn, ExplanationShown, OverrideIn, ReviewList, ReviewShown,
    ReviewWhole,
)  # fmt: skip
"""The types of their bodies."""

_ID = {
    "name": "review_id", "in": "path", "required": True,
    "schema": {"type": "string", "format": "uuid"},
}  # fmt: skip

Problems = Callable[..., dict[str, Any]]


def review_paths(problems: Problems) -> dict[str, Any]:
    """What can be asked of reviews; `problems` gives the answers of these statuses."""

    def ok(kind: str, status: int = 200) -> dict[str, Any]:
        content = {"application/json": {"schema": {"$ref": f"{REF}{kind}"}}}
        return {str(status): {"description": "It is so.", "content": content}}

    def act(name: str, summary: str, body: str = "", status: int = 200) -> dict[str, Any]:
        found: dict[str, Any] = {
            "operationId": name,
            "summary": summary,
            "parameters": [_ID],
            "responses": {
                **ok("ReviewShown", status),
                **problems(*((400, 413, 415, 422) if body else ()), 403, 404, 409, 503),
            },
        }
        if body:
            kinds = [{"$ref": f"{REF}{one}"} for one in body.split()]
            schema = kinds[0] if len(kinds) == 1 else {"oneOf": kinds}
            content = {"application/json": {"schema": schema}}
            found["requestBody"] = {"required": True, "content": content}
        return found

    def get(name: str, summary: str, kind: str, *more: Any) -> dict[str, Any]:
        return {
            "operationId": name,
            "summary": summary,
            "parameters": [*more],
            "responses": {**ok(kind), **problems(404, 422, 503)},
        }

    one = "/v1/reviews/{review_id}"
    return {
        "/v1/reviews": {
            "get": get("list_reviews", "Calls that a person must look at, those due first at first",
                       "ReviewList", *_filters()),
        },
        one: {"get": get("get_review", "One review with its call", "ReviewWhole", _ID)},
        f"{one}/explanation": {
            "get": get("explain_review", "What the answer rests on, and calls like it",
                       "ExplanationShown", _ID),
        },
        f"{one}/claim": {
            "post": act("claim_review", "Look at it: for ten minutes nobody else can decide it"),
            "delete": act("let_go_review", "Look at it no longer"),
        },
        f"{one}/verdict": {
            "post": act("judge_review", "Approve, override with a corrected decision, or escalate",
                        "ApproveIn OverrideIn EscalateIn"),
        },
        f"{one}/again": {
            "post": act("again_review", "Look once more at a call that was decided", "AgainIn", 201)
        },
    }  # fmt: skip


def _filters() -> list[dict[str, Any]]:
    def query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
        return {"name": name, "in": "query", "required": False, "schema": schema}

    return [
        query("integration", {"type": "string"}),
        query("state", {"enum": ["open", "escalated", "decided", "expired"]}),
        query("origin", {"enum": list(get_args(Cause))}),
        query("call_id", {"type": "string", "format": "uuid"}),
        query("overdue", {"enum": ["true", "false"]}),
        query("after", {"type": "string", "format": "uuid"}),
        query("limit", {"type": "integer", "minimum": 1, "maximum": 500, "default": 50}),
    ]
