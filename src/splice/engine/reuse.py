"""Reuse: the answer to the same question, or to one that means the same, is given again.

Nothing of this runs for an integration that declares neither a cache nor coalescing.
"""

from __future__ import annotations

import hashlib
from typing import Any, cast
from urllib.parse import quote

import msgspec

from splice.core.call import Reason
from splice.core.chat import Asked, Dialect, WireReply
from splice.declare.options import Options
from splice.engine.sameness import canonical_json, fingerprint, semantic_parts
from splice.engine.together import Together
from splice.ports.caches import Cache, SemanticCache

_EVERYONE = "*"  # no tenant is called so: what stands in a key is percent-encoded


class Asker(msgspec.Struct, frozen=True, gc=False):
    """On whose behalf, and of what, is asked: what is kept for one is not given to another."""

    tenant: str
    integration: str
    release: int
    variant: str = ""


class Question(msgspec.Struct, frozen=True, gc=False):
    """One question, ready to be looked up. What is None is not declared, or not possible.

    `exact` is the key of its answer, `together` that of those who ask the same now. `space` holds
    the questions whose meaning may be compared with that of `text`.
    """

    dialect: Dialect
    exact: str | None = None
    together: str | None = None
    space: str | None = None
    text: str = ""
    cosine: float = 1.0
    exact_s: float = 0.0
    semantic_s: float = 0.0


class Kept(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="splice-kept-1"):
    """What lies in a cache. It names its key: a store that mixes up two of them is found out."""

    key: str
    reply: WireReply


class KeptBytes(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="splice-bytes-1"):
    """The same for the answer of a typed call."""

    key: str
    value: bytes


class Reuse:
    """The caches of this process; without one, nothing is kept and nothing found.

    Args:
        exact: Answers by the very same question.
        semantic: Answers by a question that means the same.
    """

    def __init__(self, exact: Cache | None = None, semantic: SemanticCache | None = None) -> None:
        self._exact = exact
        self._semantic = semantic
        self._reply = msgspec.msgpack.Decoder(Kept)
        self._bytes = msgspec.msgpack.Decoder(KeptBytes)
        self.together = Together()

    @property
    def has_meanings(self) -> bool:
        """Whether there is a semantic cache."""
        return self._semantic is not None

    def troubles(self) -> list[str]:
        """What is wrong with the caches now, as far as they say."""
        found = [getattr(one, "trouble", "") for one in (self._exact, self._semantic)]
        return [str(one) for one in found if one]

    def question(
        self, asker: Asker, options: Options, asked: Asked, model: str = ""
    ) -> Question | None:
        """What can be looked up for a request; None where nothing can, or nothing is declared.

        Args:
            asker: On whose behalf.
            options: Of the integration's declaration.
            asked: The request.
            model: The model, where the caller names it himself; else empty.
        """
        keeps = options.exact_s is not None and self._exact is not None
        nears = options.semantic_s is not None and self._semantic is not None
        if not (keeps or nears or options.coalesce):
            return None
        digest = fingerprint(asked, model)
        if digest is None:
            return None
        parts = semantic_parts(asked.fields, asked.dialect) if nears else None
        space = None
        if parts is not None:
            around = [parts[0], model, sorted(asked.headers.items())]
            beside = hashlib.sha256(msgspec.json.encode(around)).hexdigest()
            space = _key("near", asker, beside, everyone=options.across_tenants)
        return Question(
            asked.dialect,
            _key("same", asker, digest, everyone=options.across_tenants) if keeps else None,
            _key("now", asker, digest, everyone=False) if options.coalesce else None,
            space,
            parts[1] if parts is not None else "",
            options.cosine,
            options.exact_s or 0.0,
            options.semantic_s or 0.0,
        )

    async def find(self, question: Question) -> tuple[WireReply, Reason] | None:
        """The kept answer, free of charge and with the usage it had, and why it is given."""
        if question.exact is not None and self._exact is not None:
            reply = self._readable(await self._exact.get(question.exact), question)
            if reply is not None:
                return reply, Reason.CACHED
        if question.space is not None and self._semantic is not None:
            near = await self._semantic.near(question.space, question.text, question.cosine)
            if near is not None:
                reply = self._readable(near.value, question)
                if reply is not None:
                    return reply, Reason.SIMILAR
        return None

    async def keep(self, question: Question, reply: WireReply) -> None:
        """Keep an answer that came to its regular end; any other is left alone."""
        if question.exact is None and question.space is None:
            return
        ending = ending_of(reply)
        if ending == "":
            return
        if question.exact is not None and self._exact is not None:
            value = msgspec.msgpack.encode(Kept(question.exact, reply))
            await self._exact.put(question.exact, value, question.exact_s)
        # A call of a tool is made of the words of one question, and an answer that was cut short
        # may lack just what the other one asked for.
        if question.space is not None and self._semantic is not None and ending == "text":
            value = msgspec.msgpack.encode(Kept(question.space, reply))
            await self._semantic.put(question.space, question.text, value, question.semantic_s)

    def typed_key(self, asker: Asker, options: Options, body: bytes) -> str | None:
        """The key of a typed call's answer, by its request (JSON); None where none is kept."""
        if options.exact_s is None or self._exact is None:
            return None
        digest = hashlib.sha256(canonical_json(body)).hexdigest()
        return _key("typed", asker, digest, everyone=options.across_tenants)

    async def find_bytes(self, key: str) -> bytes | None:
        """What `keep_bytes` kept under that key."""
        value = await self._exact.get(key) if self._exact is not None else None
        if value is None:
            return None
        try:
            kept = self._bytes.decode(value)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return None
        return kept.value if kept.key == key else None

    async def keep_bytes(self, key: str, value: bytes, seconds: float) -> None:
        """Keep the answer of a typed call."""
        if self._exact is not None:
            await self._exact.put(key, msgspec.msgpack.encode(KeptBytes(key, value)), seconds)

    async def forget(self, integration: str) -> int:
        """Forget every answer of an integration, whoever asked; returns how many."""
        name = quote(integration, safe="")
        gone = 0
        if self._exact is not None:
            gone += await self._exact.clear(f"same/{name}/")
            gone += await self._exact.clear(f"typed/{name}/")
        if self._semantic is not None:
            gone += await self._semantic.clear(f"near/{name}/")
        return gone

    async def close(self) -> None:
        """Close the caches."""
        if self._exact is not None:
            await self._exact.close()
        if self._semantic is not None:
            await self._semantic.close()

    def _readable(self, value: bytes | None, question: Question) -> WireReply | None:
        """The answer in a kept value; None where it is not one of ours, or not to this question."""
        if value is None:
            return None
        try:
            kept = self._reply.decode(value)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return None
        reply = kept.reply
        # A provider of another dialect answers in the common one, and the surface translates.
        if reply.dialect not in (question.dialect, Dialect.CHAT):
            return None
        if kept.key not in (question.exact, question.space):
            return None
        if not ending_of(reply):
            return None
        return msgspec.structs.replace(reply, cost_nano=0)


def _key(kind: str, asker: Asker, digest: str, *, everyone: bool) -> str:
    tenant = _EVERYONE if everyone else quote(asker.tenant, safe="")
    release = f"{asker.release}.{asker.variant}" if asker.variant else f"{asker.release}"
    return f"{kind}/{quote(asker.integration, safe='')}/{tenant}/{release}/{digest}"


_WHOLE_CHAT = {"stop": "text", "length": "cut", "tool_calls": "tools", "function_call": "tools"}
_WHOLE_MESSAGE = {
    "end_turn": "text",
    "stop_sequence": "text",
    "max_tokens": "cut",
    "tool_use": "tools",
}


def ending_of(reply: WireReply) -> str:
    """How an answer ended: `text`, `tools`, `vectors` or `cut`; empty where it is not to be kept.

    `cut` is at the most tokens that the caller allowed. Not kept is what is an error, broken,
    filtered, refused, or cannot be read.
    """
    if not reply.complete:
        return ""
    try:
        body = msgspec.json.decode(reply.body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return ""
    if not isinstance(body, dict):
        return ""
    body = cast("dict[str, Any]", body)
    if body.get("error"):
        return ""
    if reply.dialect is Dialect.CHAT:
        return _chat_ending(body)
    if reply.dialect is Dialect.MESSAGES:
        return _one_of(_WHOLE_MESSAGE, body.get("stop_reason")) if body.get("content") else ""
    if reply.dialect is Dialect.RESPONSES:
        return _response_ending(body)
    return "vectors" if _items(body.get("data")) else ""


def _chat_ending(body: dict[str, Any]) -> str:
    endings: set[str] = set()
    for choice in _items(body.get("choices")):
        message = choice.get("message")
        if not isinstance(message, dict):
            return ""
        message = cast("dict[str, Any]", message)
        if message.get("refusal"):
            return ""
        ending = _one_of(_WHOLE_CHAT, choice.get("finish_reason"))
        # Some servers end a call of a tool with `stop`.
        if ending == "text" and (message.get("tool_calls") or message.get("function_call")):
            ending = "tools"
        if ending == "text" and not message.get("content"):
            return ""
        endings.add(ending)
    if not endings or "" in endings:
        return ""
    return endings.pop() if len(endings) == 1 else "cut" if "cut" in endings else "tools"


def _response_ending(body: dict[str, Any]) -> str:
    output = _items(body.get("output"))
    if not output:
        return ""
    if body.get("status") == "incomplete":
        why = body.get("incomplete_details")
        cut = isinstance(why, dict) and cast("dict[str, Any]", why).get("reason")
        return "cut" if cut == "max_output_tokens" else ""
    if body.get("status") != "completed":
        return ""
    for item in output:
        if any(part.get("type") == "refusal" for part in _items(item.get("content"))):
            return ""
    kinds = {item.get("type") for item in output}
    return "text" if "message" in kinds and kinds <= {"message", "reasoning"} else "tools"


def _items(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        return []
    listed = cast("list[Any]", value)
    return [cast("dict[str, Any]", one) for one in listed if isinstance(one, dict)]


def _one_of(known: dict[str, str], value: Any) -> str:
    return known.get(value, "") if isinstance(value, str) else ""
