"""A prompt is a text file of `## system`, `## user`, `## assistant` parts with {{variables}}.

Above the parts may stand what its variables are, between two lines of `+++`, in TOML:

    +++
    [variables]
    text = { type = "str", max_length = 4000 }
    plan = ["free", "gold"]
    open_tickets = "int"
    +++
    ## system
    …
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, Literal, cast

import msgspec

from splice.core.errors import DeclarationError, ModelMismatch
from splice.core.untrusted import Untrusted, as_data, holds_untrusted

Role = Literal["system", "user", "assistant"]
_PART = re.compile(r"^##\s*(system|user|assistant)\s*$", re.MULTILINE)
_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_]\w*)\s*\}\}")
_FENCE = re.compile(r"^\+\+\+[ \t]*$", re.MULTILINE)
_TOML_LINE = re.compile(r"\(at line (\d+)")

TYPES: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "number": (int, float),
    "bool": (bool,),
    "list": (list,),
    "object": (dict,),
}
"""What a variable may be declared as, beside a list of the texts that it may have."""

_MEASURED = ("str", "list")


class Variable(msgspec.Struct, frozen=True):
    """What a variable of a prompt may be.

    `max_length` is in characters of a text, in items of a list; `choices` are the only texts
    allowed, where there are any. `untrusted` says that it comes from outside, whatever it is: it is
    shown as data.
    """

    name: str
    type: str
    choices: tuple[str, ...] = ()
    max_length: int | None = None
    untrusted: bool = False

    def __str__(self) -> str:
        kind = f"one of {', '.join(self.choices)}" if self.choices else self.type
        unit = "items" if self.type == "list" else "characters"
        return kind if self.max_length is None else f"{kind}, at most {self.max_length} {unit}"

    def refused(self, value: Any) -> str:
        """What is wrong with a value, told without quoting it at length; empty where it fits."""
        plain: Any = value if type(value) in _PLAIN else _as_plain(value)
        if isinstance(plain, Untrusted):
            plain = str(plain)
        if type(plain) not in TYPES[self.type]:  # to Python true is a 1; to a reader it is not
            return "nothing" if plain is None else f"a value of type {_type_name(plain)}"
        if self.choices and plain not in self.choices:
            return repr(plain if len(plain) <= 40 else f"{plain[:40]}…")
        if self.max_length is not None and len(plain) > self.max_length:
            return f"{len(plain)} {'items' if self.type == 'list' else 'characters'}"
        return ""


class Part(msgspec.Struct, frozen=True):
    """One turn: its role and its text with `{{variables}}`."""

    role: Role
    text: str


class Prompt(msgspec.Struct, frozen=True):
    """A parsed prompt file.

    `variables` are those that its parts use, in their order; `declared` says what each may be, and
    is None where the file does not say.
    """

    path: str
    sha256: str
    parts: tuple[Part, ...]
    variables: tuple[str, ...]
    declared: tuple[Variable, ...] | None = None

    @property
    def version(self) -> str:
        """The first twelve characters of the hash of its text."""
        return self.sha256[:12]

    def fill(self, values: Mapping[str, Any]) -> list[tuple[Role, str]]:
        """The turns with every variable replaced, once: a value is never read as a template.

        Raises:
            ModelMismatch: The context lacks a variable, or its value is not what is declared.
        """

        def put(match: re.Match[str]) -> str:
            value = values[match[1]]
            text = str(value) if isinstance(value, str) else _ENCODE(value).decode()
            outside = match[1] in marked or holds_untrusted(value)
            return as_data(match[1], text) if outside else text

        missing = [name for name in self.variables if name not in values]
        if missing:
            raise ModelMismatch(
                f"{self.path}.{missing[0]}",
                got=f"a context of {', '.join(values) or 'nothing'}",
                promised=f"a value for {{{{{missing[0]}}}}}",
                mend="return it from context(), or take it out of the prompt",
            )
        for variable in self.declared or ():
            if wrong := variable.refused(values[variable.name]):
                raise ModelMismatch(
                    f"{self.path}.{variable.name}",
                    got=wrong,
                    promised=str(variable),
                    mend="return what the prompt declares from context(), or declare it otherwise",
                )
        marked = {one.name for one in self.declared or () if one.untrusted}
        return [(part.role, _VARIABLE.sub(put, part.text)) for part in self.parts]


_ENCODE = msgspec.json.Encoder(enc_hook=str).encode
_PLAIN = frozenset((str, int, float, bool, list, dict, type(None)))


def _as_plain(value: Any) -> Any:
    try:
        plain = msgspec.to_builtins(value)
    except (TypeError, ValueError, RecursionError):
        return value
    return list(cast("tuple[Any, ...]", plain)) if isinstance(plain, tuple) else plain


def _type_name(value: Any) -> str:
    name = type(cast("object", value)).__name__
    return {"float": "number", "dict": "object"}.get(name, name)


def parse_prompt(text: str, path: str, *, before: bool = False) -> Prompt:
    """The prompt in a text. Without a part line the whole text is one turn.

    Args:
        text: Content of the file.
        path: Where it stands, for messages.
        before: It is put before messages that a caller brings: a system part, and examples if it
            has some. It then needs no user's turn, and has no variables, for nobody fills them.

    Raises:
        DeclarationError: It is empty, has text before its first part, no user part where it needs
            one, or its variables are not those that it declares. Carries the line.
    """
    front, body, skipped = _front_matter(text, path)
    pieces = _PART.split(body)
    head, rest = pieces[0], pieces[1:]
    parts: list[Part] = []
    if not rest:
        parts.append(Part("system" if before else "user", head.strip()))
    elif head.strip():
        raise DeclarationError(
            path,
            got="text before the first part",
            promised="## system or ## user first",
            mend="move it under a part line",
            line=skipped + 1 + head[: len(head) - len(head.lstrip())].count("\n"),
        )
    for role, content in zip(rest[::2], rest[1::2], strict=True):
        parts.append(Part(cast("Role", role), content.strip()))
    _check_parts(parts, path, skipped + 1, before=before)
    found = dict.fromkeys(name for part in parts for name in _VARIABLE.findall(part.text))
    if before and found:
        raise DeclarationError(
            path,
            got=f"{{{{{next(iter(found))}}}}} in a prompt that is put before a caller's messages",
            promised="no variables: there is no context() to fill them",
            mend="write the text out, or declare a splice.Integration with a context()",
            line=_line_of_use(text, next(iter(found))),
        )
    declared = None if front is None else tuple(_declared(front, path))
    if declared is not None:
        _check_names(declared, tuple(found), text, path)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Prompt(path, digest, tuple(parts), tuple(found), declared)


def _check_parts(parts: list[Part], path: str, line: int, *, before: bool) -> None:
    if before and parts[-1].role == "user":
        raise DeclarationError(
            path,
            got="a user's turn at the end, before the caller's own messages",
            promised="a system part, and examples that end with an assistant's turn",
            mend="write the answer to the example, or leave it out",
            line=line,
        )
    if before and not any(part.text for part in parts):
        raise DeclarationError(
            path, got="no text", promised="a ## system part with text",
            mend="write what the model is to know, or take the prompt off the route", line=line,
        )  # fmt: skip
    if not before and not any(part.role == "user" and part.text for part in parts):
        raise DeclarationError(
            path,
            got="no text for the user's turn",
            promised="a ## user part with text",
            mend="write what the model is asked",
            line=line,
        )


def _front_matter(text: str, path: str) -> tuple[str | None, str, int]:
    """The TOML between the two fences, the rest, and how many lines stand before the rest."""
    fences = _FENCE.finditer(text)
    first = next(fences, None)
    if first is None or text[: first.start()].strip("\ufeff\r\n\t "):
        return None, text, 0
    second = next(fences, None)
    if second is None:
        raise DeclarationError(
            path,
            got="+++ without a second one",
            promised="a line +++ under the variables",
            mend="close it above the first part",
            line=text[: first.start()].count("\n") + 1,
        )
    front = "\n" * text[: first.end()].count("\n") + text[first.end() : second.start()]
    return front, text[second.end() :], text[: second.end()].count("\n")


def _declared(front: str, path: str) -> Iterator[Variable]:
    try:
        plain: dict[str, Any] = tomllib.loads(front)
    except tomllib.TOMLDecodeError as error:
        found = _TOML_LINE.search(str(error))
        raise DeclarationError(
            path,
            got=f"variables that are not TOML: {error}",
            promised='lines such as name = "str" under [variables]',
            mend="mend the line",
            line=int(found[1]) if found else front.count("\n") + 1,
        ) from None
    unknown = [name for name in plain if name != "variables"]
    listed: Any = plain.get("variables", {})
    if unknown or not isinstance(listed, dict):
        name = unknown[0] if unknown else "variables"
        raise DeclarationError(
            path, got=f"{name} between the lines +++", promised="one table, [variables]",
            mend="put the variables under [variables], and leave the rest out",
            line=_line_of_name(front, name),
        )  # fmt: skip
    for name, said in cast("dict[str, Any]", listed).items():
        variable = _variable(name, said)
        if variable is None:
            raise DeclarationError(
                f"{path}.{name}",
                got=f"{said!r}",
                promised=f"one of {', '.join(TYPES)}, a list of the texts that it may have, or "
                f"{{ type = …, max_length = … }} ({' and '.join(_MEASURED)} have a length)",
                mend=f'write it like {name} = "str"',
                line=_line_of_name(front, name),
            )
        yield variable


def _variable(name: str, said: Any) -> Variable | None:
    """What is said of a variable; None where it cannot be understood."""
    if not _VARIABLE.fullmatch(f"{{{{{name}}}}}"):
        return None
    length, outside = None, False
    if isinstance(said, dict):
        told = cast("dict[str, Any]", said)
        if not set(told) <= {"type", "max_length", "untrusted"}:
            return None
        said, length = told.get("type"), told.get("max_length")
        outside = told.get("untrusted", False)
    if isinstance(said, list):
        choices = cast("list[Any]", said)
        if not choices or not all(isinstance(one, str) for one in choices):
            return None
        kind, texts = "str", tuple(choices)
    elif isinstance(said, str) and said in TYPES:
        kind, texts = said, ()
    else:
        return None
    whole = isinstance(length, int) and not isinstance(length, bool) and length > 0
    if length is not None and not (whole and kind in _MEASURED):
        return None
    return Variable(name, kind, texts, length, outside) if isinstance(outside, bool) else None


def _check_names(
    declared: tuple[Variable, ...], used: tuple[str, ...], text: str, path: str
) -> None:
    names = {variable.name for variable in declared}
    for name in used:
        if name not in names:
            raise DeclarationError(
                f"{path}.{name}",
                got=f"{{{{{name}}}}}, which is not among the variables declared",
                promised=f"one of {', '.join(names) or 'none'}",
                mend=f'declare it: {name} = "str"',
                line=_line_of_use(text, name),
            )
    for name in names:
        if name not in used:
            raise DeclarationError(
                f"{path}.{name}",
                got="a variable that is declared and stands nowhere in the prompt",
                promised=f"{{{{{name}}}}} in a part",
                mend="use it, or take it out of [variables]",
                line=_line_of_name(text, name),
            )


def _line_of_name(text: str, name: str) -> int:
    found = re.search(rf"^[ \t\[]*[\"']?{re.escape(name)}[\"']?[ \t]*[=\]]", text, re.MULTILINE)
    return 1 if found is None else text[: found.start()].count("\n") + 1


def _line_of_use(text: str, name: str) -> int:
    for found in _VARIABLE.finditer(text):
        if found[1] == name:
            return text[: found.start()].count("\n") + 1
    return 1
