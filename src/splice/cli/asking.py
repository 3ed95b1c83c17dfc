"""The questionnaire, asked on a terminal; and what to declare for its answers."""

from __future__ import annotations

from typing import Any

import typer

from splice.cli.common import out
from splice.core.duties import PinnedAssessment
from splice.core.law import Law, Question

_FLAGS = ("safety_component", "third_party", "profiling", "public_service")
_MANY = ("roles", "practices", "uses", "products", "transparency")


def asked(law: Law) -> PinnedAssessment:
    """The answers of whoever sits there; an empty line leaves a question open."""
    said: dict[str, Any] = {}
    for question in law.questions:
        if question.only and not said.get(question.only):
            continue
        value = _answer(law, question)
        if value is not None:
            said[question.field] = value
        if question.field == "derogation" and value:
            said["derogation_why"] = _prompt("Why does it hold?")
    return PinnedAssessment(**said)


def _answer(law: Law, question: Question) -> Any:
    entries = law.table(question.table) if question.table else ()
    keys = question.keys or tuple(one.key for one in entries)
    out.print(f"\n{question.ask}")
    for one in entries:
        out.print(f"  {one.key:<24}{one.text}")
    many = question.field in _MANY
    if keys and not entries:
        out.print(f"  {', '.join(keys)}")
    hint = "keys, with commas; none for none of them" if many else "a key" if keys else ""
    if question.field in _FLAGS:
        hint = "yes or no"
    while True:
        text = _prompt(f"[{hint or 'a sentence'}; empty leaves it open]")
        try:
            return _read(question.field, text, keys, many=many)
        except ValueError as error:
            out.print(f"  {error}")


def _prompt(text: str) -> str:
    answer: str = typer.prompt(text, default="", show_default=False, err=True)
    return answer.strip()


def _read(field: str, text: str, keys: tuple[str, ...], *, many: bool) -> Any:
    if not text:
        return None
    if field in _FLAGS:
        if text.lower() not in ("yes", "no", "y", "n"):
            raise ValueError("yes or no")
        return text.lower().startswith("y")
    if not keys:
        return text
    given = [] if many and text == "none" else [one.strip() for one in text.split(",")]
    if unknown := [one for one in given if one not in keys]:
        raise ValueError(f"not among the keys: {', '.join(unknown)}")
    if many:
        return tuple(one for one in keys if one in given)
    return given[0]


def declaration_text(said: PinnedAssessment) -> str:
    """What a declaration says to give these answers."""
    lines = ["    assessment = splice.Assessment("]
    for name in said.__struct_fields__:
        value: Any = getattr(said, name)
        if value is None or value == "" or (name == "roles" and not value):
            continue
        shown = list(value) if isinstance(value, tuple) else value  # pyright: ignore[reportUnknownArgumentType,reportUnknownVariableType]
        lines.append(f"        {name}={shown!r},")
    return "\n".join([*lines, "    )"])
