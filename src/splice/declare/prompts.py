"""A prompt is a text file of `## system`, `## user`, `## assistant` parts with {{variables}}."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Literal, cast

import msgspec

from splice.core.errors import DeclarationError, ModelMismatch

Role = Literal["system", "user", "assistant"]
_PART = re.compile(r"^##\s*(system|user|assistant)\s*$", re.MULTILINE)
_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_]\w*)\s*\}\}")


class Part(msgspec.Struct, frozen=True):
    """One turn: its role and its text with `{{variables}}`."""

    role: Role
    text: str


class Prompt(msgspec.Struct, frozen=True):
    """A parsed prompt file."""

    path: str
    sha256: str
    parts: tuple[Part, ...]
    variables: tuple[str, ...]

    @property
    def version(self) -> str:
        """The first twelve characters of the hash of its text."""
        return self.sha256[:12]

    def fill(self, values: Mapping[str, Any]) -> list[tuple[Role, str]]:
        """The turns with every variable replaced, once: a value is never read as a template.

        Raises:
            ModelMismatch: The context lacks a variable.
        """

        def put(match: re.Match[str]) -> str:
            value = values[match[1]]
            return value if isinstance(value, str) else msgspec.json.encode(value).decode()

        missing = [name for name in self.variables if name not in values]
        if missing:
            raise ModelMismatch(
                f"{self.path}.{missing[0]}",
                got=f"a context of {', '.join(values) or 'nothing'}",
                promised=f"a value for {{{{{missing[0]}}}}}",
                mend="return it from context(), or take it out of the prompt",
            )
        return [(part.role, _VARIABLE.sub(put, part.text)) for part in self.parts]


def parse_prompt(text: str, path: str) -> Prompt:
    """The prompt in a text. Without a part line the whole text is the user's turn.

    Raises:
        DeclarationError: It is empty, has text before its first part, or no user part.
    """
    pieces = _PART.split(text)
    head, rest = pieces[0], pieces[1:]
    parts: list[Part] = []
    if not rest:
        parts.append(Part("user", head.strip()))
    elif head.strip():
        raise DeclarationError(
            path,
            got="text before the first part",
            promised="## system or ## user first",
            mend="move it under a part line",
            line=1,
        )
    for role, body in zip(rest[::2], rest[1::2], strict=True):
        parts.append(Part(cast("Role", role), body.strip()))
    if not parts or not any(p.role == "user" and p.text for p in parts):
        raise DeclarationError(
            path,
            got="no text for the user's turn",
            promised="a ## user part with text",
            mend="write what the model is asked",
            line=1,
        )
    found = dict.fromkeys(name for part in parts for name in _VARIABLE.findall(part.text))
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Prompt(path=path, sha256=digest, parts=tuple(parts), variables=tuple(found))
