"""The machine-readable evidence of an integration: statements, proofs, gaps, other frameworks."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from splice.core.evidence import Checklist, Line, Proof
from splice.core.law import Framework

Shown = Literal["shown", "partly", "gap", "none", "organisation"]
"""Of a control: all that is mapped to it is proven, some of it, none of it; there is nothing to
prove; or nothing is mapped, for an organisation shows it and no software can."""

SCHEMA = "evidence.schema.json"
VERSION = 1


class Statement(msgspec.Struct, frozen=True):
    """One statement about the integration: proven by its proofs, or a gap with what closes it."""

    id: str
    duty: str
    article: str
    title: str  # of the duty
    point: str
    text: str
    state: Literal["done", "gap", "none"]
    said: str
    proofs: tuple[Proof, ...]
    todo: str
    by_person: bool
    binds_from: str  # ISO 8601; empty where no date is known
    source: str  # where that date stands


class Mapped(msgspec.Struct, frozen=True):
    """A control of another framework, with the statements that show it."""

    id: str
    text: str
    state: Shown
    statements: tuple[str, ...]
    gaps: tuple[str, ...]


class Mapping(msgspec.Struct, frozen=True):
    """Another framework. `scope` says what is not claimed."""

    key: str
    name: str
    title: str
    source: str
    as_of: str
    scope: str
    controls: tuple[Mapped, ...]


class Because(msgspec.Struct, frozen=True):
    """Why the tier is what it is."""

    tier: str
    point: str
    text: str
    binds_from: str


class Evidence(msgspec.Struct, frozen=True, rename={"schema": "$schema"}):
    """All of it, as `evidence.json` has it. `made` is in UTC, as RFC 3339 has it."""

    schema: str
    kind: Literal["splice.evidence"]
    version: int
    notice: str
    made: str
    by: str  # the software that made it
    integration: str
    purpose: str
    release: int
    release_sha256: str
    declared_risk: str
    tier: str  # empty where the questionnaire was not answered
    because: tuple[Because, ...]
    not_answered: tuple[str, ...]
    law: str
    law_as_of: str
    statements: tuple[Statement, ...]
    gaps: tuple[str, ...]  # ids of statements, and what the pack itself lacks
    frameworks: tuple[Mapping, ...]


def statements_of(found: Checklist) -> tuple[Statement, ...]:
    """The items that bind, as statements."""
    return tuple(
        Statement(
            line.key, chapter.key, chapter.article, chapter.title, line.point, line.text,
            line.state, line.said, line.proofs, line.todo, line.by_person, line.day, line.source,
        )
        for chapter in found.chapters
        if chapter.binds
        for line in chapter.lines
    )  # fmt: skip


def because_of(found: Checklist) -> tuple[Because, ...]:
    """The grounds of the tier."""
    return tuple(
        Because(str(one.tier), one.point, one.text, "" if one.date is None else one.date.day)
        for one in found.grounds
    )


def mapping_of(frame: Framework, lines: dict[str, Line]) -> Mapping:
    """A framework, by what is known of the items: also of those that do not bind."""
    controls: list[Mapped] = []
    for control in frame.controls:
        known = [lines[key] for key in control.items if key in lines]
        told = [one for one in known if one.state != "none"]
        gaps = tuple(one.key for one in told if one.state == "gap")
        state: Shown = "organisation"
        if control.items:
            state = "shown" if not gaps else "gap" if len(gaps) == len(told) else "partly"
        if control.items and not told:
            state = "none" if known else "gap"
        controls.append(
            Mapped(control.id, control.text, state, tuple(one.key for one in known), gaps)
        )
    return Mapping(
        frame.key, frame.name, frame.title, frame.source, frame.as_of, frame.scope,
        tuple(controls),
    )  # fmt: skip


def schema_of_evidence() -> dict[str, Any]:
    """JSON Schema 2020-12 of `evidence.json`."""
    found = msgspec.json.schema(Evidence)
    found["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    found["title"] = "Evidence of an integration, by Splice"
    return found
