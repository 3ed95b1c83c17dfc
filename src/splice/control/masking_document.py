"""The strings of a JSON document, where they stand, and which belong together."""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import Any, Final, Literal, TypeAlias, cast

import msgspec

from splice.control.masking_secrets import names_secret

_LONG_NUMBER = 10**8
"""From nine digits on a number may be that of a card, an account or a telephone."""

_DEEPEST = 16
"""JSON in a string, in a string, and so on: each level doubles what is escaped in it."""

_BLOB = 512
"""A string of so many characters that is nothing but base64 is a file."""

_BASE64 = re.compile(r"[A-Za-z0-9+/_=\r\n-]+")
_DATA_URL = re.compile(
    r"data:([a-z]+/[\w.+-]+)?(?:;[\w=.+-]+){0,4},[^\s\"'<>()\[\]\\]+", re.IGNORECASE
)
_TEXT: Final = "text"
"""The field of the parts of one message."""


_OPAQUE: Final = frozenset(("signature", "encrypted_content", "thought_signature"))
"""Fields of a conversation in which its provider gets back what it wrote for itself."""

Files: TypeAlias = Literal["drop", "keep", "refuse"]
"""What becomes of files in a document: the ledger drops them."""


class HoldsFile(ValueError):
    """A document holds a file, and none may go out: nobody can look into it."""


class Leaf(msgspec.Struct, gc=False):
    """One string, or one long number, and where it stands.

    `is_key` where it is the name of a field of `holder`, else `key` is the field or index.
    `secret` where the field's name says that the value is one.
    """

    holder: Any  # dict or list
    key: Any  # str or int
    text: str
    is_key: bool = False
    secret: bool = False


class _Nested(msgspec.Struct, gc=False):
    """JSON in a string: the string's place, what is in it, and its leaves."""

    leaf: int
    root: list[Any]
    first: int
    end: int


class Document:
    """A JSON document, taken apart.

    Files (`data:` URLs, and long strings of base64) are dropped at once: they may show a face or a
    passport, and nobody looks into them. What stands in their place says the length and the hash.
    So are `logprobs`, which spell a text token by token.

    Args:
        raw: JSON.
        files: Keeps files as they are, or refuses the document for them, in place of dropping them.

    Attributes:
        leaves: Every string in it, names of fields included, in their order.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError: It is not JSON.
        RecursionError: It is nested too deeply.
        HoldsFile: It does, and files are refused.
    """

    def __init__(self, raw: bytes, files: Files = "drop") -> None:
        self._files: Files = files
        self._root: list[Any] = [msgspec.json.decode(raw)]
        self._places: dict[tuple[int, Any], int] = {}
        self._nested: list[_Nested] = []
        self._wanted: list[tuple[bool, list[tuple[int, Any]]]] = []
        self.leaves: list[Leaf] = []
        self._walk(self._root, 0)

    @property
    def parts(self) -> list[list[int]]:
        """For each list of several texts the leaves of these: the texts may have been one."""
        return self._members(plain=False)

    @property
    def lists(self) -> list[list[int]]:
        """The same for lists of plain strings."""
        return self._members(plain=True)

    def _members(self, *, plain: bool) -> list[list[int]]:
        return [
            [self._places[place] for place in places if place in self._places]
            for is_plain, places in self._wanted
            if is_plain is plain
        ]

    def _walk(self, root: list[Any], level: int) -> None:
        if level > _DEEPEST:
            raise RecursionError
        waiting: list[Any] = [root]
        while waiting:
            holder = waiting.pop()
            later: list[Any] = []
            if isinstance(holder, dict):
                fields = cast("dict[str, Any]", holder)
                for key, value in fields.items():
                    self.leaves.append(Leaf(fields, key, key, True))
                    kind = cast("type[Any]", type(value))
                    if kind is str:
                        self._string(fields, key, value, level, key)
                    elif kind is dict or kind is list:
                        if key == "logprobs":
                            fields[key] = None
                        else:
                            later.append(value)
                    elif kind is int or kind is float:
                        self._number(fields, key, value)
            else:
                items = cast("list[Any]", holder)
                self._note_group(items)
                for index, value in enumerate(items):
                    kind = cast("type[Any]", type(value))
                    if kind is str:
                        self._string(items, index, value, level, None)
                    elif kind is dict or kind is list:
                        later.append(value)
                    elif kind is int or kind is float:
                        self._number(items, index, value)
            waiting += reversed(later)

    def _string(self, holder: Any, key: Any, text: str, level: int, name: str | None) -> None:
        """Note a string of a list, or of the field of a name."""
        if self._files == "drop":
            if len(text) >= _BLOB or ":" in text:
                holder[key] = text = without_files(text)
        elif name not in _OPAQUE and holds_file(text):
            if self._files == "refuse":
                raise HoldsFile
            if _BASE64.fullmatch(text) or _DATA_URL.fullmatch(text):
                return  # what stands around a file is searched with it
        place = len(self.leaves)
        if name is None or name == _TEXT:
            self._places[id(holder), key] = place
        secret = name is not None and text != "" and names_secret(name)
        self.leaves.append(Leaf(holder, key, text, False, secret))
        inner = _json_in(text)
        if inner is not None:
            first = len(self.leaves)
            self._walk(inner, level + 1)
            self._nested.append(_Nested(place, inner, first, len(self.leaves)))

    def _number(self, holder: Any, key: Any, value: int | float) -> None:
        named = isinstance(key, str) and names_secret(key)
        if not named and not (value >= _LONG_NUMBER or value <= -_LONG_NUMBER):
            return
        whole = int(value) if value == int(value) else None
        text = str(value if whole is None else abs(whole))
        if isinstance(value, int) and not -(2**63) <= value < 2**64:
            holder[key] = msgspec.Raw(str(value).encode())  # as it came: else it cannot be written
        self.leaves.append(Leaf(holder, key, text, secret=named))

    def _note_group(self, items: Sequence[Any]) -> None:
        if len(items) < 2:
            return
        strings = [(id(items), i) for i, one in enumerate(items) if isinstance(one, str)]
        if len(strings) > 1:
            self._wanted.append((True, strings))
        texts = [
            (id(cast("object", one)), _TEXT)
            for one in items
            if isinstance(one, dict) and isinstance(cast("dict[str, Any]", one).get(_TEXT), str)
        ]
        if len(texts) > 1:
            self._wanted.append((False, texts))

    def is_flat(self, changed: Collection[int]) -> bool:
        """Whether what changes is nothing but strings for themselves: no names, nothing nested."""
        if self._nested or self._wanted:
            return False
        return not any(self.leaves[place].is_key for place in changed)

    def opened(self, changed: Collection[int]) -> set[int]:
        """Of the strings that hold JSON those in which a leaf is changed: they are written anew."""
        ordered = sorted(changed)
        return {
            one.leaf
            for one in self._nested
            if bisect_left(ordered, one.end) > bisect_left(ordered, one.first)
        }

    def put(self, changed: dict[int, str]) -> bytes:
        """The document with other texts in place of some of its leaves.

        Args:
            changed: Text by number of the leaf.
        """
        renamed: dict[int, tuple[dict[str, Any], dict[str, str]]] = {}
        for place, text in changed.items():
            leaf = self.leaves[place]
            if leaf.is_key:
                renamed.setdefault(id(leaf.holder), (leaf.holder, {}))[1][leaf.key] = text
            else:
                leaf.holder[leaf.key] = text
        opened = self.opened(changed)
        for nested in self._nested:  # inner ones stand before those that they are in
            if nested.leaf in opened:
                self._rename(renamed, nested.first, nested.end)
                leaf = self.leaves[nested.leaf]
                leaf.holder[leaf.key] = msgspec.json.encode(nested.root[0]).decode()
        self._rename(renamed, 0, len(self.leaves))
        return msgspec.json.encode(self._root[0])

    def _rename(
        self, renamed: dict[int, tuple[dict[str, Any], dict[str, str]]], first: int, end: int
    ) -> None:
        for leaf in self.leaves[first:end] if renamed else ():
            if id(leaf.holder) not in renamed:
                continue
            fields, names = renamed.pop(id(leaf.holder))
            items = list(fields.items())
            fields.clear()
            for key, value in items:
                fields[_free(fields, names.get(key, key))] = value


def _free(fields: dict[str, Any], name: str) -> str:
    """The name, or one with a number where two fields would have the same."""
    free, number = name, 2
    while free in fields:
        free, number = f"{name} {number}", number + 1
    return free


def _json_in(text: str) -> list[Any] | None:
    """What the JSON in a string means, in a list; None where it is none, or a mere number."""
    first = text[:1]
    if first not in '{["' and not first.isspace():  # most texts, which strip() would copy
        return None
    inner = text.strip()
    if len(inner) < 2 or inner[0] + inner[-1] not in ("{}", "[]", '""'):
        return None
    try:
        return [msgspec.json.decode(inner)]
    except (msgspec.DecodeError, UnicodeError):
        return None


def without_files(text: str) -> str:
    """The text with what it holds of files replaced by their length and hash."""
    if len(text) >= _BLOB and _BASE64.fullmatch(text):
        return _dropped("base64", text)
    if ":" in text and "data:" in text.lower():
        return _DATA_URL.sub(_data_url, text)
    return text


def holds_file(text: str) -> bool:
    """Whether a string holds a file that `without_files` would drop."""
    if len(text) >= _BLOB and _BASE64.fullmatch(text):
        return True
    if ":" in text and "data:" in text.lower():
        return any(_data_url(match) != match[0] for match in _DATA_URL.finditer(text))
    return False


def _data_url(match: re.Match[str]) -> str:
    if not match[1] and ";base64," not in match[0][:64].lower():
        return match[0]
    return _dropped(f"data {match[1] or 'of no type'}", match[0])


def _dropped(what: str, text: str) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"[{what}, {len(text)} characters, sha256 {digest}]"
