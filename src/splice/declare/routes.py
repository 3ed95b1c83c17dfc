"""The routes of a declaration: their references, timeouts, prompts and output types."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

import msgspec

from splice.core.errors import DeclarationError
from splice.core.units import seconds
from splice.declare.codec import Codec, codec
from splice.declare.options import Patience, read_patience
from splice.declare.prompts import Prompt, parse_prompt
from splice.declare.spec import LLM, Model, Route, Rule

_MODEL_REF = re.compile(r"[A-Za-z0-9][\w.-]{0,63}(?:@[\w.-]{1,64})?")
_LLM_REF = re.compile(r"[a-z][a-z0-9_-]{0,31}/\S{1,128}")

ReadText: TypeAlias = "Callable[[str], str]"
"""Text of a file by its path inside the project; raises OSError or UnicodeDecodeError."""

Wrong: TypeAlias = "Callable[[str, str, str, str], None]"
"""Notes a mistake: field, what came, what was expected, what to do."""


class TimedRoute(msgspec.Struct, frozen=True):
    """A declared route with its timeout in seconds, and its prompt and output where it has them."""

    route: Route
    timeout_s: float
    prompt: Prompt | None = None
    output: Codec | None = None
    patience: Patience = Patience()


class RouteReader:
    """Reads the routes of one class.

    Args:
        deadline_s: Of the integration.
        reply: What a language model answers in where a route does not say.
        fields: Names that the routes see; None where `context()` makes them.
        prompts: Reads the text of a prompt by its path.
        wrong: Notes a mistake of the field `routes`.
        mistakes: Takes mistakes inside a prompt file.
        conversation: The callers bring the messages: a route needs no prompt and no output.
    """

    def __init__(
        self,
        deadline_s: float,
        reply: Codec | None,
        fields: Sequence[str] | None,
        prompts: ReadText,
        wrong: Wrong,
        mistakes: list[DeclarationError],
        conversation: bool = False,
    ) -> None:
        self._deadline_s = deadline_s
        self._reply = reply
        self._fields = fields
        self._prompts = prompts
        self._wrong = wrong
        self._mistakes = mistakes
        self._conversation = conversation

    def read(self, given: Any) -> list[TimedRoute]:
        """The routes that are without fault; a mistake is noted for each of the others."""
        if not isinstance(given, (list, tuple)):
            self._wrong(
                "routes", type(given).__name__, "a list of routes", "put it into brackets: [ … ]"
            )
            return []
        declared = cast("Sequence[Any]", given)
        if self._conversation and not all(isinstance(one, LLM) for one in declared):
            self._wrong(
                "routes",
                "a route that is no language model",
                "splice.LLM routes only, in a Conversation",
                "declare a splice.Integration for what a model or a rule answers",
            )
        if not declared and not self._conversation:
            self._wrong(
                "routes",
                "none",
                "at least one route",
                "add splice.Model(…), splice.LLM(…) or splice.Rule(…)",
            )
        labels = [r.label for r in declared if isinstance(r, (Model, LLM, Rule)) and _named(r)]
        for label in dict.fromkeys(one for one in labels if labels.count(one) > 1):
            self._wrong("routes", f"{label} twice", "each route once", "leave one out")
        timed = [
            (route, self._timeout(route, i, len(declared))) for i, route in enumerate(declared)
        ]
        explicit = [
            timeout_s
            for route, timeout_s in timed
            if timeout_s is not None and getattr(route, "timeout", None) is not None
        ]
        if explicit and sum(explicit) > self._deadline_s + 1e-9:
            self._wrong(
                "deadline",
                f"routes that may take {sum(explicit):g} s together",
                f"at most the deadline of {self._deadline_s:g} s",
                "raise the deadline or lower a timeout: the last route would never get its turn",
            )
        read = [self._route(route, i, timeout) for i, (route, timeout) in enumerate(timed)]
        return [r for r in read if r is not None]

    def _timeout(self, route: Any, position: int, count: int) -> float | None:
        """None where what stands there is no duration."""
        # Without a word of the user a route gets four fifths of the deadline, so that what stands
        # behind it still has its turn; the last has all that is left.
        if not isinstance(route, (Model, LLM, Rule)) or route.timeout is None:
            return self._deadline_s if position == count - 1 else self._deadline_s * 0.8
        try:
            return seconds(route.timeout, "timeout")
        except DeclarationError as error:
            self._wrong("routes", f"timeout {error.got}", error.promised, error.mend)
            return None

    def _route(self, route: Any, position: int, timeout_s: float | None) -> TimedRoute | None:
        if not isinstance(route, (Model, LLM, Rule)):
            self._wrong(
                "routes",
                f"{getattr(route, '__name__', type(route).__name__)} at position {position}",
                "splice.Model, splice.LLM or splice.Rule",
                "wrap it in one of them",
            )
            return None
        timeout_s = timeout_s or self._deadline_s
        if isinstance(route, Rule):
            self._check_rule(route)
            return TimedRoute(route, timeout_s)
        if isinstance(route, Model):
            return self._model(route, timeout_s)
        return self._llm(route, timeout_s)

    def _model(self, route: Model, timeout_s: float) -> TimedRoute | None:
        if not _named(route) or not _MODEL_REF.fullmatch(route.ref):
            self._wrong(
                "routes",
                repr(route.ref),
                "name, name@alias or name@version",
                'write it like "credit@champion"',
            )
            return None
        given: Any = route.features
        listed = isinstance(given, (list, tuple))
        features = tuple(cast("Sequence[Any]", given)) if listed else ()
        plain = all(isinstance(one, str) for one in features)
        if not listed or not plain or len(set(features)) != len(features):
            self._wrong(
                "routes",
                f"features={given!r}",
                "the names of the columns, each once",
                'write it like features=("amount", "age")',
            )
            return None
        return TimedRoute(msgspec.structs.replace(route, features=features), timeout_s)

    def _check_rule(self, route: Rule) -> None:
        if not callable(route.function) or inspect.iscoroutinefunction(route.function):
            self._wrong(
                "routes",
                repr(route.function),
                "a plain function of the context",
                "a rule needs no network: make it a def, not an async def",
            )
            return
        try:
            inspect.signature(route.function).bind({})
        except (TypeError, ValueError):
            self._wrong(
                "routes",
                f"{route.label} that cannot take one argument",
                "a function of the context",
                "let it take the mapping of context()",
            )

    def _llm(self, route: LLM, timeout_s: float) -> TimedRoute | None:
        if not _named(route) or not _LLM_REF.fullmatch(route.ref):
            self._wrong(
                "routes",
                repr(route.ref),
                "provider/model",
                'write it like "openai/gpt-5-mini"; providers are in splice.toml',
            )
        patience = read_patience(route, self._wrong, conversation=self._conversation)
        if self._conversation:
            prompt = self._prompt(route) if route.prompt else None
            return TimedRoute(route, timeout_s, prompt, None, patience)
        output = self._output(route)
        prompt = self._prompt(route)
        return None if prompt is None else TimedRoute(route, timeout_s, prompt, output, patience)

    def _output(self, route: LLM) -> Codec | None:
        if route.output is None:
            return self._reply
        try:
            output = codec(route.output)
            output.schema()
        except Exception as error:  # noqa: BLE001 - the types are the user's own code
            self._wrong("routes", str(error), "an output type of JSON values", "mend the type")
            return None
        return output

    def _prompt(self, route: LLM) -> Prompt | None:
        path: Any = route.prompt
        if not isinstance(path, str) or not path.strip():
            self._wrong("routes", f"prompt {path!r}", "the path of a text file", "name the file")
            return None
        try:
            text = self._prompts(path)
        except (OSError, ValueError) as error:
            self._wrong(
                "routes",
                f"prompt {path!r}: {error}",
                "a readable text file",
                f"write {path} in the folder that imports start from, beside splice.toml unless "
                "project.source says otherwise",
            )
            return None
        try:
            prompt = parse_prompt(text, path, before=self._conversation)
        except DeclarationError as error:
            error.file = path
            self._mistakes.append(error)
            return None
        known = () if self._conversation else self._fields
        lacking = [v for v in prompt.variables if known is not None and v not in known]
        if lacking and known is not None:
            self._wrong(
                "routes",
                f"prompt {path!r} with {{{{{lacking[0]}}}}}, which the request has not",
                f"variables among {', '.join(known)}",
                "return it from context(), or take it out of the prompt",
            )
        return prompt


def _named(route: Model | LLM | Rule) -> bool:
    """Whether a route has what its label is made of."""
    return isinstance(route, Rule) or isinstance(cast("Any", route.ref), str)
