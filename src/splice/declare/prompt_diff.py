"""What changes from one version of a prompt to another: its variables, then its parts."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import msgspec

from splice.declare.prompts import Prompt


class PartDiff(msgspec.Struct, frozen=True):
    """One part that is not the same: `system`, or `user 2` where there are several.

    `lines` begin with `-`, `+` or a space, as in a unified diff.
    """

    part: str
    lines: tuple[str, ...]


class VariableDiff(msgspec.Struct, frozen=True):
    """A variable that came, went, or is declared otherwise; empty where it is not there."""

    name: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.name}: {self.before or 'nothing'} -> {self.after or 'nothing'}"


class PromptDiff(msgspec.Struct, frozen=True):
    """All differences of two versions; `before` and `after` name them."""

    before: str
    after: str
    variables: tuple[VariableDiff, ...]
    parts: tuple[PartDiff, ...]

    @property
    def same(self) -> bool:
        """Whether a model is told the same by both."""
        return not (self.variables or self.parts)


def prompt_diff(before: Prompt, after: Prompt) -> PromptDiff:
    """The differences. Parts are compared by their role, and by their order among those of it."""
    old, new = _parts(before), _parts(after)
    parts: list[PartDiff] = []
    for name in dict.fromkeys([*old, *new]):
        lines = _lines(old.get(name), new.get(name))
        if lines:
            parts.append(PartDiff(name, lines))
    if not parts and list(old) != list(new):
        parts.append(PartDiff("order", (f"-{', '.join(old)}", f"+{', '.join(new)}")))
    return PromptDiff(
        f"{before.path} {before.version}", f"{after.path} {after.version}",
        _variables(before, after), tuple(parts),
    )  # fmt: skip


def _parts(prompt: Prompt) -> dict[str, str]:
    roles = [part.role for part in prompt.parts]
    seen: dict[str, int] = {}
    named: dict[str, str] = {}
    for part in prompt.parts:
        seen[part.role] = seen.get(part.role, 0) + 1
        several = roles.count(part.role) > 1
        named[f"{part.role} {seen[part.role]}" if several else part.role] = part.text
    return named


def _lines(before: str | None, after: str | None) -> tuple[str, ...]:
    old, new = _split(before), _split(after)
    if old == new:
        return ()
    # The two lines with file names say nothing here.
    return tuple(list(difflib.unified_diff(old, new, lineterm=""))[2:])


def _split(text: str | None) -> Sequence[str]:
    return () if text is None else text.split("\n")


def _variables(before: Prompt, after: Prompt) -> tuple[VariableDiff, ...]:
    old, new = _told(before), _told(after)
    return tuple(
        VariableDiff(name, old.get(name, ""), new.get(name, ""))
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    )


def _told(prompt: Prompt) -> dict[str, str]:
    if prompt.declared is None:
        return dict.fromkeys(prompt.variables, "anything")
    return {variable.name: str(variable) for variable in prompt.declared}
