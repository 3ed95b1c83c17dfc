"""Reading policies: every value looked at, every mistake named, each with its version."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec

from splice.core.errors import DeclarationError, SpliceError
from splice.core.policies import (
    ACTIONS,
    STATIONS,
    PinnedPolicy,
    PolicyAction,
    PolicyKind,
    Station,
    policy_version,
)
from splice.core.units import seconds
from splice.declare.codec import codec
from splice.declare.policies import Policy

Wrong = Callable[[str, str, str, str], None]
Asked = Callable[[str], Any]
"""A function of a text: of the user's own, or one that reads an answer as a declared type."""

MOST = 32
TIMEOUT_S = 2.0
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,47}")
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_TOOL = re.compile(r"[\w*?.:/-]{1,128}")
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}")
_RULE = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_REDACTED = frozenset({"injection", "prompt"})
"""What of `no` cannot be taken out: what is left of a text that gives orders is no better."""

_STANDS: dict[PolicyKind, tuple[Station, ...]] = {
    "size": ("input",),
    "languages": ("input",),
    "topics": ("input",),
    "no": ("output",),
    "tools": ("input", "output"),
    "schema": ("output",),
    "check": ("input", "output"),
}
_FIXED: frozenset[PolicyKind] = frozenset({"tools", "schema"})
_KINDS: tuple[tuple[str, PolicyKind], ...] = (
    ("max_chars", "size"), ("languages", "languages"), ("topics", "topics"), ("no", "no"),
    ("tools", "tools"), ("schema", "schema"), ("check", "check"),
)  # fmt: skip


class ReadPolicies(msgspec.Struct, frozen=True):
    """Policies, read; with the functions that some of them ask, by name."""

    policies: tuple[PinnedPolicy, ...] = ()
    functions: Mapping[str, Asked] = {}


class _Mistake(Exception):
    """What is wrong with one policy: got, promised, mend."""


def read_policies(given: Any, *, conversation: bool, wrong: Wrong) -> ReadPolicies:
    """The policies of a class; notes what is wrong with them.

    Args:
        given: What the class has.
        conversation: Whether it is a `Conversation`: only those have tools.
        wrong: Notes a mistake.
    """
    listed: Any = [given] if isinstance(given, Policy) else given
    if not isinstance(listed, (list, tuple)):
        wrong("policies", type(listed).__name__, "a list of splice.Policy(…)", "put it in [ … ]")
        return ReadPolicies()
    read: list[PinnedPolicy] = []
    functions: dict[str, Asked] = {}
    for one in cast("Sequence[Any]", listed):
        if not isinstance(one, Policy):
            wrong("policies", type(one).__name__, "a splice.Policy", "write splice.Policy(…)")
            continue
        try:
            pinned, asked = _Reader(one).read(conversation=conversation)
        except _Mistake as mistake:
            wrong("policies", *mistake.args)
            continue
        read.append(pinned)
        if asked is not None:
            functions[pinned.name] = asked
    names = [one.name for one in read]
    for name in sorted({one for one in names if names.count(one) > 1}):
        wrong("policies", f"two named {name!r}", "a name each", 'say which is which: name="…"')
    if len(read) > MOST:
        wrong("policies", f"{len(read)} of them", f"at most {MOST}", "put some together")
    return ReadPolicies(tuple(read), functions)


class _Reader:
    """Reads one policy."""

    def __init__(self, given: Policy) -> None:
        self._given = given
        self._asked: Asked | None = None

    def read(self, *, conversation: bool) -> tuple[PinnedPolicy, Asked | None]:
        given = self._given
        kind, what = self._kind()
        if kind in _FIXED and not conversation:
            raise _Mistake(
                f"{what} in an integration with types of its own", "a splice.Conversation",
                "the reply type is its schema already, and its routes have no tools",
            )  # fmt: skip
        rule = self._rule(kind)
        name: Any = given.name or self._usual_name(kind)
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise _Mistake(
                f"name={name!r}"[:80], "lower-case letters, digits, - and _", 'write name="…"'
            )
        at, then = self._at(kind), self._then(kind)
        message: Any = given.message
        if not isinstance(message, str) or len(message) > 500:
            raise _Mistake("a message that is no text of up to 500 characters", "one", "shorten it")
        self._check_strays(kind)
        timeout_s = self._timeout()
        version = policy_version(
            kind=kind, at=at, then=then, rule=rule, message=message, timeout_s=timeout_s
        )
        return PinnedPolicy(name, kind, at, then, rule, version, message, timeout_s), self._asked

    def _kind(self) -> tuple[PolicyKind, str]:
        given = self._given
        said: list[tuple[PolicyKind, str]] = [
            (kind, field)
            for field, kind in _KINDS
            if getattr(given, field) not in (None, "", ()) and getattr(given, field) != {}
        ]
        if given.tools is not None and not any(kind == "tools" for kind, _ in said):
            said.append(("tools", "tools"))  # an empty list allows none
        if len(said) != 1:
            fields = ", ".join(field for field, _ in _KINDS)
            got = " and ".join(field for _, field in said) or "nothing to look at"
            raise _Mistake(got, f"exactly one of {fields}", "write a splice.Policy for each")
        return said[0]

    def _usual_name(self, kind: PolicyKind) -> str:
        if kind == "no":
            return f"no_{self._given.no}"
        if kind == "check":
            called = getattr(self._given.check, "__name__", "check")
            return called.strip("_").lower() if called.isidentifier() else "check"
        return "max_chars" if kind == "size" else kind

    def _rule(self, kind: PolicyKind) -> dict[str, Any]:
        given = self._given
        if kind == "size":
            most: Any = given.max_chars
            if not isinstance(most, int) or isinstance(most, bool) or most < 1:
                raise _Mistake(f"max_chars={most!r}", "a number above 0", "write max_chars=8000")
            return {"max_chars": most}
        if kind == "languages":
            return {"languages": self._words("languages", given.languages, _LANGUAGE, '("en",)')}
        if kind == "topics":
            return self._topics()
        if kind == "no":
            no: Any = given.no
            if not isinstance(no, str) or not _RULE.fullmatch(no):
                raise _Mistake(f"no={no!r}"[:80], "the name of a rule", 'write no="secret"')
            rule: dict[str, Any] = {"no": no}
            if no == "links" and given.allow:
                rule["allow"] = self._words("allow", given.allow, _HOST, '("example.com",)')
            return rule
        if kind == "tools":
            rule = {"tools": self._words("tools", given.tools, _TOOL, "()")}
            if given.after_untrusted is not None:
                left = self._words("after_untrusted", given.after_untrusted, _TOOL, "()")
                rule["after_untrusted"] = left
            return rule
        if kind == "schema":
            return self._schema()
        return self._function("check", given.check)

    def _topics(self) -> dict[str, Any]:
        given = self._given
        topics = {name: _examples(name, some) for name, some in _pairs(given.topics)}
        rule: dict[str, Any] = {"topics": topics}
        if bool(given.allow) == bool(given.deny):
            raise _Mistake(
                "topics with both or neither of allow and deny", "one of them",
                'write deny=("medicine",)',
            )  # fmt: skip
        which, named = ("allow", given.allow) if given.allow else ("deny", given.deny)
        rule[which] = self._words(which, named, re.compile(r".{1,64}"), '("refunds",)')
        unknown = [one for one in rule[which] if one not in topics]
        if unknown:
            raise _Mistake(
                f"{which} {unknown[0]!r}", f"one of {', '.join(topics)}", "name it in topics"
            )
        least: Any = given.least
        if not isinstance(least, (int, float)) or not 0 < least <= 1:
            raise _Mistake(f"least={least!r}", "a number above 0, at most 1", "write least=0.5")
        rule["least"] = float(least)
        if given.by is not None:
            rule.update(self._function("by", given.by))
        return rule

    def _schema(self) -> dict[str, Any]:
        try:
            read = codec(self._given.schema)
            schema = read.schema()
        except (DeclarationError, TypeError, ValueError) as error:
            raise _Mistake(
                f"schema: {error}"[:200], "a type that can be read from JSON", "mend it"
            ) from None

        def asked(text: str) -> str:
            try:
                read.decode(text.encode(), "output")
            except SpliceError:  # what it says may quote the text
                return "another type"
            return ""

        self._asked = asked
        return {"schema": schema}

    def _function(self, field: str, function: Any) -> dict[str, Any]:
        if not callable(function):
            raise _Mistake(f"{field}={function!r}"[:80], "a function of a text", "write a function")
        self._asked = cast("Asked", function)
        called = f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', '')}"
        try:
            source = inspect.getsource(function)
        except (OSError, TypeError):  # built in, or made without a file
            source = called
        digest = hashlib.sha256(source.encode()).hexdigest()[:12]
        return {"function": called.rpartition(":")[2] or "function", "source": digest}

    def _words(self, field: str, given: Any, form: re.Pattern[str], usual: str) -> list[str]:
        if isinstance(given, (list, tuple)):
            words = cast("Sequence[Any]", given)
            if all(isinstance(one, str) and form.fullmatch(one) for one in words):
                return list(dict.fromkeys(words))
        raise _Mistake(f"{field}={given!r}"[:80], "names in brackets", f"write {field}={usual}")

    def _at(self, kind: PolicyKind) -> tuple[Station, ...]:
        given: Any = self._given.at
        usual = _STANDS[kind]
        if kind == "no" and self._given.no == "injection":
            usual = ("input", "context", "results")
        if not given:
            return usual
        listed: Any = (given,) if isinstance(given, str) else given
        fine = isinstance(listed, (list, tuple))
        words = cast("Sequence[Any]", listed) if fine else ()
        for one in words:
            fine = fine and one in STATIONS
        if not fine:
            raise _Mistake(f"at={given!r}"[:80], f"of {', '.join(STATIONS)}", 'write at="input"')
        if kind in _FIXED and set(words) != set(usual):
            raise _Mistake(f"at={given!r}"[:80], " and ".join(usual), "leave it out")
        return tuple(one for one in STATIONS if one in words)

    def _then(self, kind: PolicyKind) -> PolicyAction:
        given: Any = self._given.then
        no = self._given.no
        if not given:
            return "flag" if no == "injection" else "refuse"
        if given not in ACTIONS:
            raise _Mistake(f"then={given!r}"[:80], f"one of {', '.join(ACTIONS)}", "mend it")
        if given == "redact" and (kind != "no" or no in _REDACTED):
            raise _Mistake(
                "then='redact' of what cannot be taken out", "links, or a rule of masking",
                'write then="refuse"',
            )  # fmt: skip
        return given

    def _check_strays(self, kind: PolicyKind) -> None:
        given = self._given
        hosts = kind == "no" and given.no == "links"
        strays: tuple[tuple[str, str, Any, bool], ...] = (
            ("allow", "topics, or no links", given.allow, kind == "topics" or hosts),
            ("deny", "topics", given.deny, kind == "topics"),
            ("by", "topics", given.by, kind == "topics"),
            ("after_untrusted", "tools", given.after_untrusted, kind == "tools"),
        )
        for name, belongs, value, fits in strays:
            if not fits and value not in (None, ()):
                raise _Mistake(f"{name} without {belongs}", belongs, "leave it out")

    def _timeout(self) -> float:
        given = self._given.timeout
        if given is None:
            return TIMEOUT_S
        try:
            return seconds(given, "timeout")
        except DeclarationError as error:
            raise _Mistake(f"timeout {error.got}", error.promised, error.mend) from None


def _pairs(topics: Any) -> list[tuple[Any, Any]]:
    if not isinstance(topics, Mapping):
        raise _Mistake(type(topics).__name__, "a mapping of topics to examples", _TOPICS)
    return list(cast("Mapping[Any, Any]", topics).items())


def _examples(name: Any, given: Any) -> list[str]:
    if isinstance(name, str) and isinstance(given, (list, tuple)):
        listed = cast("Sequence[Any]", given)
        if listed and all(isinstance(one, str) and one.strip() for one in listed):
            return list(listed)
    raise _Mistake(f"topic {name!r}"[:80], "sentences that are examples of it", _TOPICS)


_TOPICS = 'write topics={"refunds": ("I want my money back", …)}'
