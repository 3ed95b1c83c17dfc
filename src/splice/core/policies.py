"""Policies: named, versioned rules about what may go into a model and what may come out."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec

Station = Literal["input", "context", "results", "output"]
STATIONS: tuple[Station, ...] = ("input", "context", "results", "output")
"""Where a policy stands: at what the caller says, at what was gathered for the call, at what tools
gave back, at what the model says."""

PolicyKind = Literal["size", "languages", "topics", "no", "tools", "schema", "check"]
PolicyAction = Literal["refuse", "flag", "redact", "review"]
ACTIONS: tuple[PolicyAction, ...] = ("refuse", "flag", "redact", "review")
"""What a policy does with what it finds: the call ends; it goes on and that is noted; the words are
taken out; it goes on and a person must look at it."""

PolicyResult = Literal["passed", "refused", "flagged", "redacted", "review", "unavailable"]
RESULTS: dict[PolicyAction, PolicyResult] = {
    "refuse": "refused",
    "flag": "flagged",
    "redact": "redacted",
    "review": "review",
}


class PinnedPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """One policy as a release pins it: `name` is what records, refusals and metrics call it.

    `rule` is its definition in plain values, as its kind has it: `{"max_chars": 8000}`. `version`
    is the beginning of the hash of all of it, the source of a function of the user's included.
    `timeout_s` is how long a check that does not answer at once may take; then it counts as down.
    """

    name: str
    kind: PolicyKind
    at: tuple[Station, ...]
    then: PolicyAction
    rule: dict[str, Any]  # JSON values, by kind
    version: str
    message: str = ""
    timeout_s: float = 2.0


class PolicyRun(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What one policy did with one call; never any words of the call itself.

    `found` says what kind of thing was found (`override`, `secret`, `9120 characters`), `count` how
    often, `at` where the first of it was.
    """

    policy: str
    version: str
    did: PolicyResult = "passed"
    at: str = ""
    found: str = ""
    count: int = 0


def policy_version(**definition: Any) -> str:
    """The first twelve characters of the SHA-256 of a definition in plain values."""
    plain = msgspec.json.encode(definition, order="sorted")
    return hashlib.sha256(plain).hexdigest()[:12]


def policy_told(run: PolicyRun) -> str:
    """What a policy did, in words: "flagged input: override, 2 times"."""
    if run.did == "passed":
        return "passed"
    times = f", {run.count} times" if run.count > 1 else ""
    did = "sent to review" if run.did == "review" else run.did
    return f"{did} {run.at}: {run.found}{times}".strip()


def policies_text(policies: tuple[PinnedPolicy, ...]) -> str:
    """Policies in words: "no_secret refuses at output (4f1c09ab77de); …"."""
    does = {"refuse": "refuses", "flag": "flags", "redact": "redacts", "review": "sends to review"}
    return "; ".join(
        f"{one.name} {does[one.then]} at {', '.join(one.at)} ({one.version})" for one in policies
    )
