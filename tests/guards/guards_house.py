"""Lines with policies: what they ask is what a process would ask."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from chat_house import ChatHouse, Says, ScriptedProvider, balanced, chat_line
from engine_house import House, line_for

import splice
from splice.app.policing import detectors_of
from splice.app.settings import Settings
from splice.app.wiring import masker_of
from splice.declare.reading import Declaration, read
from splice.engine.guarding import guard_of
from splice.engine.line import Line
from splice.engine.routing.ruled import Ruled
from splice.ports.policies import Detectors

SETTINGS = Settings()
DETECTORS = detectors_of(SETTINGS, masker_of(SETTINGS))

PROMPT = (
    "## system\nYou help customers of the Blue Heron shop with orders and returns, politely and "
    "briefly. Never offer more than ten percent discount, and never speak of suppliers.\n"
)


def declared(cls: type[splice.Integration]) -> Declaration:
    """A class, read; its prompts are the one above."""
    declaration, mistakes = read(cls, ast.parse(""), "test.py", lambda _: PROMPT)
    assert declaration is not None, mistakes
    return declaration


def mistakes_of(*policies: Any, conversation: bool = False) -> list[str]:
    """What is said of a declaration with these policies."""
    base = splice.Conversation if conversation else splice.Integration
    routes = (splice.LLM("a/m"),) if conversation else (splice.Rule(lambda _: 0.1),)
    body: dict[str, Any] = {"__doc__": "Test.", "routes": routes, "policies": policies}
    if not conversation:
        body.update(request=Question, reply=float)
    _, mistakes = read(type("Judged", (base,), body), ast.parse(""), "t.py", lambda _: PROMPT)
    return [str(one) for one in mistakes]


def guarded(line: Line, detectors: Detectors = DETECTORS) -> Line:
    """The line with its guard."""
    line.guard = guard_of(line.declaration, detectors)
    assert line.guard is not None
    line.simple = line.simple and line.guard.immediate
    return line


class Question(splice.Request):
    text: str


class Answer(splice.Reply):
    text: str


def typed(
    *policies: splice.Policy,
    says: Callable[[Any], Any] = lambda context: context["text"],
    context: Any = None,
    **more: Any,
) -> Line:
    """The line of an integration that answers what its rule says."""

    def decide(self: Any, request: Question, prediction: splice.Prediction) -> Answer:
        return Answer(str(prediction.value))

    body: dict[str, Any] = {
        "__doc__": "Test.", "routes": (splice.Rule(says),), "policies": policies,
        "request": Question, "reply": Answer, "deadline": "5 s", "decide": decide, **more,
    }  # fmt: skip
    if context is not None:
        body["context"] = context
    return line_for(type("Judged", (splice.Integration,), body), Ruled(says))


class Rooms:
    """Houses of one test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: list[House | ChatHouse] = []

    def typed(
        self, *policies: splice.Policy, detectors: Detectors = DETECTORS, **more: Any
    ) -> tuple[House, Line]:
        house = House(self._folder / str(len(self._open)))
        self._open.append(house)
        return house, house.live(guarded(typed(*policies, **more), detectors))

    def chat(
        self, *policies: splice.Policy, words: Any = ("hello",), detectors: Detectors = DETECTORS,
        **more: Any,
    ) -> tuple[ChatHouse, ScriptedProvider]:  # fmt: skip
        provider = ScriptedProvider(*[Says(tuple(words)) for _ in range(8)])
        body: dict[str, Any] = {
            "__doc__": "Test.", "routes": (splice.LLM("a/m", retries=0),), "deadline": "5 s",
            "policies": policies, **more,
        }  # fmt: skip
        cls = type("Chatting", (splice.Conversation,), body)
        line = guarded(chat_line(cls, balanced(provider)), detectors)
        house = ChatHouse(self._folder / str(len(self._open)), line)
        self._open.append(house)
        return house, provider

    def close(self) -> None:
        for one in self._open:
            one.close()


def sent(provider: ScriptedProvider) -> Any:
    """The fields of the last request that a provider got, as plain values."""
    fields = provider.asked[-1].fields
    return {
        name: msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value
        for name, value in fields.items()
    }
