"""Filling: placeholders in what a provider answered become the values of the call again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from splice.core.chat import WireReply
from splice.ports.masking import Veiled

_SHAPE = r"\[[a-z][a-z0-9_-]{0,31}-[0-9]{1,9}(?:-[a-z]{8})?\]"
_PLACEHOLDER = re.compile(_SHAPE)
_IN_BYTES = re.compile(_SHAPE.encode())
_BEGUN = re.compile(r"\[[a-z0-9_-]{0,52}\Z")
_TO_ESCAPE = re.compile(r'["\\\x00-\x1f]')

_encode = msgspec.json.encode
_decode = msgspec.json.decode


class Filler:
    """Fills placeholders with what they stand for; those that the model made up stay.

    Args:
        veiled: What was asked.
    """

    __slots__ = ("counts", "values")

    def __init__(self, veiled: Veiled) -> None:
        self.values: Mapping[str, str] = veiled.values
        self.counts = dict(veiled.counts)

    @property
    def escapes(self) -> bool:
        """Whether a value is another in JSON than it is."""
        return any(_TO_ESCAPE.search(one) is not None for one in self.values.values())

    def text(self, text: str, *, escaped: bool = False) -> str:
        """A text with values; `escaped` where it is JSON, in whose strings they stand."""
        if "[" not in text or not self.values:
            return text
        return _PLACEHOLDER.sub(self._escaped if escaped else self._plain, text)

    def begun(self, text: str) -> int:
        """Where a placeholder begins that may go on behind the end of a text; else the end."""
        match = _BEGUN.search(text)
        if match is None or not any(one.startswith(match[0]) for one in self.values):
            return len(text)
        return match.start()

    def string(self, text: str) -> str:
        """A string with values: where it is JSON itself, it still is in the end."""
        if "[" not in text or _PLACEHOLDER.search(text) is None:
            return text
        if text.lstrip()[:1] in ("{", "[", '"'):
            try:
                return _encode(self.value(_decode(text))).decode()
            except (msgspec.DecodeError, RecursionError):
                return self.text(text, escaped=text.lstrip()[:1] == "{")
        return self.text(text)

    def value(self, value: Any) -> Any:
        """JSON values with those of the call in them, names of fields included."""
        if isinstance(value, str):
            return self.string(value)
        if isinstance(value, list):
            return [self.value(one) for one in cast("list[Any]", value)]
        if isinstance(value, dict):
            fields = cast("dict[str, Any]", value)
            return {self.string(name): self.value(one) for name, one in fields.items()}
        return value

    def document(self, document: bytes) -> bytes:
        """JSON with values."""
        found = {one.decode() for one in _IN_BYTES.findall(document)}
        values = [self.values[one] for one in found if one in self.values]
        if not values:
            return document
        if all(_TO_ESCAPE.search(one) is None for one in values):
            return _IN_BYTES.sub(self._raw, document)  # however deep it stands in strings of JSON
        return _encode(self.value(_decode(document)))

    def reply(self, reply: WireReply) -> WireReply:
        """A whole answer with values, and with what was masked in its question."""
        try:
            body = self.document(reply.body)
        except (msgspec.DecodeError, RecursionError):  # what is no JSON is the caller's to read
            body = reply.body
        return msgspec.structs.replace(reply, body=body, masked=self.counts)

    def _plain(self, match: re.Match[str]) -> str:
        return self.values.get(match[0], match[0])

    def _escaped(self, match: re.Match[str]) -> str:
        value = self.values.get(match[0])
        return match[0] if value is None else _encode(value)[1:-1].decode()

    def _raw(self, match: re.Match[bytes]) -> bytes:
        value = self.values.get(match[0].decode())
        return match[0] if value is None else value.encode()
