"""Known OpenAI-compatible vendors, and in what each differs from the API that they all imitate.

One row a vendor; what a row does not say is as at OpenAI. A field that a vendor would refuse is
left out, so that a fallback from another vendor does not fail on a hint; a field that it knows by
another name gets that name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

import msgspec
from msgspec import Raw

from splice.core.chat import Dialect
from splice.core.errors import SettingsError

# OpenAI's reasoning models refuse `max_tokens`; all its models know `max_completion_tokens`.
# https://platform.openai.com/docs/api-reference/chat/create (max_tokens)
_REASONING = re.compile(r"(?:.*/)?(?:o[1-9]|gpt-(?:[5-9]|[1-9]\d))(?![a-z0-9])")

_PATHS = {
    Dialect.CHAT: "/chat/completions",
    Dialect.RESPONSES: "/responses",
    Dialect.EMBEDDINGS: "/embeddings",
}


class Vendor(msgspec.Struct, frozen=True, kw_only=True):
    """What is particular about one vendor.

    `key_env` is the variable that usually holds the key. `key_header` is how it is sent: as a
    bearer token in `authorization`, or bare. `stream_options` says whether a stream counts tokens
    when asked to; those that refuse the field count without being asked. `spelled` is the only name
    under which it bounds the length of an answer, where it knows but one. `renamed` and `refused`
    are fields of a chat completion. `batches` says whether it has OpenAI's `/files` and `/batches`.
    """

    base_url: str = ""
    key_env: str = ""
    key_header: Literal["authorization", "api-key"] = "authorization"
    json_schema: bool = True
    stream_options: bool = True
    responses: bool = False
    embeddings: bool = True
    parallel_tool_calls: bool = True
    spelled: Literal["", "max_tokens", "max_completion_tokens"] = ""
    renamed: dict[str, str] = {}
    refused: frozenset[str] = frozenset()
    batches: bool = False

    @property
    def dialects(self) -> frozenset[Dialect]:
        """What it can be asked."""
        known = {Dialect.CHAT}
        if self.embeddings:
            known.add(Dialect.EMBEDDINGS)
        if self.responses:
            known.add(Dialect.RESPONSES)
        return frozenset(known)


VENDORS: dict[str, Vendor] = {
    # Any other server that speaks OpenAI's chat completions and embeddings, at an address that the
    # settings name; what it knows beside them nobody can tell.
    "compatible": Vendor(),
    # https://platform.openai.com/docs/api-reference
    "openai": Vendor(
        base_url="https://api.openai.com/v1",
        key_env="OPENAI_API_KEY",
        responses=True,
        batches=True,
    ),
    # https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle
    # base_url is https://RESOURCE.openai.azure.com/openai/v1, or, with an api_version,
    # https://RESOURCE.openai.azure.com/openai: the model is then a deployment in the path.
    "azure": Vendor(key_env="AZURE_OPENAI_API_KEY", key_header="api-key", responses=True),
    # https://docs.mistral.ai/api/ (chat): fields that it does not list end in 422
    # (extra_forbidden), `stream_options` and `max_completion_tokens` among them; the last event of
    # a stream counts tokens unasked.
    "mistral": Vendor(
        base_url="https://api.mistral.ai/v1",
        key_env="MISTRAL_API_KEY",
        stream_options=False,
        spelled="max_tokens",
        renamed={"seed": "random_seed"},
        refused=frozenset(
            {
                "logprobs",
                "top_logprobs",
                "logit_bias",
                "user",
                "store",
                "service_tier",
                "modalities",
                "verbosity",
                "safety_identifier",
                "prompt_cache_key",
            }
        ),
    ),
    # https://console.groq.com/docs/openai (currently unsupported OpenAI features)
    "groq": Vendor(
        base_url="https://api.groq.com/openai/v1",
        key_env="GROQ_API_KEY",
        responses=True,
        embeddings=False,
        refused=frozenset({"logprobs", "top_logprobs", "logit_bias"}),
        batches=True,  # https://console.groq.com/docs/batch
    ),
    # https://docs.together.ai/docs/inference/openai-compatibility
    "together": Vendor(
        base_url="https://api.together.ai/v1", key_env="TOGETHER_API_KEY", spelled="max_tokens"
    ),
    # https://api-docs.deepseek.com/api/create-chat-completion: response_format is text or
    # json_object; no embeddings.
    "deepseek": Vendor(
        base_url="https://api.deepseek.com/v1",
        key_env="DEEPSEEK_API_KEY",
        json_schema=False,
        embeddings=False,
        parallel_tool_calls=False,
        spelled="max_tokens",
    ),
    # https://ai.google.dev/gemini-api/docs/openai: a field that it does not know ends in 400
    # (Unknown name: Cannot find field); seen of these three.
    "gemini": Vendor(
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        key_env="GEMINI_API_KEY",
        refused=frozenset({"frequency_penalty", "presence_penalty", "seed"}),
    ),
    # https://docs.ollama.com/api/openai-compatibility: unknown fields are ignored, so that a bound
    # under the other name would not hold.
    "ollama": Vendor(
        base_url="http://localhost:11434/v1",
        responses=True,
        parallel_tool_calls=False,
        spelled="max_tokens",
    ),
    # https://docs.vllm.ai/en/latest/serving/openai_compatible_server/
    "vllm": Vendor(base_url="http://localhost:8000/v1", responses=True, parallel_tool_calls=False),
    # https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
    # Older ones know only `max_tokens`.
    "llama.cpp": Vendor(base_url="http://localhost:8080/v1", responses=True, spelled="max_tokens"),
    # https://openrouter.ai/docs/api-reference/overview; every stream counts tokens.
    "openrouter": Vendor(
        base_url="https://openrouter.ai/api/v1", key_env="OPENROUTER_API_KEY", responses=True
    ),
    # https://docs.x.ai/docs/api-reference
    "xai": Vendor(
        base_url="https://api.x.ai/v1", key_env="XAI_API_KEY", responses=True, embeddings=False
    ),
    # https://docs.fireworks.ai/tools-sdks/openai-compatibility: streams count tokens unasked.
    "fireworks": Vendor(
        base_url="https://api.fireworks.ai/inference/v1",
        key_env="FIREWORKS_API_KEY",
        responses=True,
        spelled="max_tokens",
    ),
}


class _Format(msgspec.Struct):
    type: str = ""
    json_schema: dict[str, Any] | None = None


def vendor_of(name: str, where: str) -> Vendor:
    """The row of a vendor.

    Raises:
        SettingsError: There is none of that name.
    """
    try:
        return VENDORS[name]
    except KeyError:
        raise SettingsError(
            f"{where}.vendor",
            got=name,
            promised=f"one of {', '.join(VENDORS)}",
            mend='take "compatible" for a server that imitates it',
        ) from None


def path_of(dialect: Dialect, model: str, api_version: str | None) -> str:
    """The path of a request; with an `api_version`, as Azure's dated API has it."""
    path = _PATHS[dialect]
    if api_version is None:
        return path
    # Responses name the model in the body only.
    place = "" if dialect is Dialect.RESPONSES else f"/deployments/{quote(model, safe='')}"
    return f"{place}{path}?api-version={quote(api_version, safe='')}"


def adapted(vendor: Vendor, model: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of a chat completion as this vendor takes them; the same object where they are."""
    changed: dict[str, Any] | None = None
    spelled = vendor.spelled
    if "max_tokens" in fields and not spelled and _REASONING.match(model):
        spelled = "max_completion_tokens"
    if spelled:
        other = "max_completion_tokens" if spelled == "max_tokens" else "max_tokens"
        if other in fields:
            changed = {**fields}
            bound = changed.pop(other)
            changed.setdefault(spelled, bound)
    for old, new in vendor.renamed.items():
        if old in fields:
            changed = {**fields} if changed is None else changed
            changed[new] = changed.pop(old)
    if not vendor.refused.isdisjoint(fields):
        kept = fields if changed is None else changed
        changed = {name: value for name, value in kept.items() if name not in vendor.refused}
    if not vendor.parallel_tool_calls and "parallel_tool_calls" in fields:
        changed = {**fields} if changed is None else changed
        del changed["parallel_tool_calls"]
    if not vendor.json_schema and "response_format" in fields:
        changed = _told(fields if changed is None else changed)
    return fields if changed is None else changed


def _told(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A schema that the server cannot enforce is told to the model instead."""
    out = {**fields}
    try:
        wanted = msgspec.convert(plain(fields["response_format"]), _Format)
        messages = msgspec.convert(plain(fields.get("messages")), list[Any])
    except msgspec.ValidationError:
        return out  # the server says what is wrong with it
    if wanted.type == "json_schema" and wanted.json_schema is not None:
        schema = wanted.json_schema.get("schema", {})
        out["response_format"] = {"type": "json_object"}
        out["messages"] = with_schema(messages, schema)
    return out


def with_schema(messages: list[Any], schema: Mapping[str, Any]) -> list[Any]:
    """The messages with a schema in the system prompt, where a server cannot enforce one."""
    text = msgspec.json.encode(schema).decode()
    told = (
        "Answer with one JSON object that satisfies this JSON Schema, and with nothing else:\n"
        + text
    )
    first = messages[0] if messages else None
    if isinstance(first, dict) and first.get("role") == "system":  # pyright: ignore[reportUnknownMemberType]
        content = first.get("content")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        if isinstance(content, str):
            return [{"role": "system", "content": f"{content}\n\n{told}"}, *messages[1:]]
    return [{"role": "system", "content": told}, *messages]


def plain(value: Any) -> Any:
    """A field's value decoded, where it is a caller's own bytes."""
    return msgspec.json.decode(value) if isinstance(value, Raw) else value
