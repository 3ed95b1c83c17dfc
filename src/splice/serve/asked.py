"""Recorded requests of the OpenAI and Anthropic surfaces, read again."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from splice.core.chat import Asked
from splice.serve.anthropic.surface import asked_message
from splice.serve.openai.chat import asked_chat
from splice.serve.openai.embeddings import asked_embeddings
from splice.serve.openai.responses import asked_response

ASKED: Mapping[str, Callable[[bytes], Asked]] = {
    "openai": lambda body: asked_chat(body, {}).asked,
    "openai-responses": lambda body: asked_response(body, {}),
    "openai-embeddings": lambda body: asked_embeddings(body, {}).asked,
    "anthropic": lambda body: asked_message(body, {}),
}
"""By the surface of a record: its input as it was asked. Raises RequestError where it was masked or
not kept."""
