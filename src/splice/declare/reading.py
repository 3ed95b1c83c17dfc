"""From a class to a Declaration: types found, durations read, every mistake named."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from types import ModuleType
from typing import Any, TypeAlias, cast, get_type_hints

import msgspec

from splice.core.errors import DeclarationError
from splice.core.units import money, seconds
from splice.declare.codec import Codec, codec, entity_field
from splice.declare.prompts import Prompt, parse_prompt
from splice.declare.spec import LLM, Integration, Model, Objective, Risk, Route, Rule
from splice.declare.spec import integration_name as name_of

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_MODEL_REF = re.compile(r"[A-Za-z0-9][\w.-]{0,63}(?:@[\w.-]{1,64})?")
_LLM_REF = re.compile(r"[a-z][a-z0-9_-]{0,31}/\S{1,128}")
MAX_DEADLINE = 600.0

ReadText: TypeAlias = "Callable[[str], str]"
"""Text of a file by its path inside the project; raises OSError or UnicodeDecodeError."""


class TimedRoute(msgspec.Struct, frozen=True):
    """A declared route with its timeout in seconds, and its prompt and output where it has them."""

    route: Route
    timeout_s: float
    prompt: Prompt | None = None
    output: Codec | None = None


class Declaration(msgspec.Struct, frozen=True):
    """An integration as declared, read and found without fault."""

    name: str
    cls: type[Integration]
    purpose: str
    risk: Risk
    objective: Objective | None
    deadline_s: float
    routes: tuple[TimedRoute, ...]
    request: Codec
    reply: Codec
    entity: str | None
    has_context: bool
    has_decide: bool
    places: dict[str, tuple[str, int]] = {}  # attribute to file and line; "" is the class


class _Reader:
    """Reads one class; collects every mistake instead of stopping at the first."""

    def __init__(
        self, cls: type[Integration], tree: ast.Module, file: str, prompts: ReadText
    ) -> None:
        self.cls = cls
        self.file = file
        self.prompts = prompts
        self.name = name_of(cls)
        self.mistakes: list[DeclarationError] = []
        self._lines = dict(_lines_of(tree, cls.__name__))

    def wrong(self, field: str, got: str, promised: str, mend: str) -> None:
        """Note a mistake at the line where the field is set, or at the class."""
        line = self._lines.get(field) or self._lines.get("", 0)
        where = f"{self.cls.__name__}.{field}" if field else self.cls.__name__
        self.mistakes.append(
            DeclarationError(
                where, got=got, promised=promised, mend=mend, file=self.file, line=line
            )
        )

    def read(self) -> Declaration | None:
        """The declaration, or None where there are mistakes."""
        cls = self.cls
        if not _NAME.fullmatch(self.name):
            self.wrong(
                "name",
                repr(self.name),
                "lower-case letters, digits and hyphens, at most 63",
                'name it like "fraud-screening"',
            )
        purpose = inspect.cleandoc(cls.__dict__.get("__doc__") or "").strip()
        if not purpose:
            self.wrong(
                "",
                "no docstring",
                "its purpose in one sentence",
                "say under the class line what it is for",
            )
        risk = self._risk()
        deadline_s = self._deadline()
        objective = self._objective()
        request, request_type = self._types("request")
        reply, _ = self._types("reply")
        entity = self._entity(request_type)
        has_decide = cls.decide is not Integration.decide
        if inspect.iscoroutinefunction(cls.decide):
            self.wrong(
                "decide",
                "an async function",
                "a plain function of request and prediction",
                "gather what it needs in context()",
            )
        routes = self._routes(deadline_s, reply)
        if self.mistakes or request is None or reply is None:
            return None
        return Declaration(
            name=self.name,
            cls=cls,
            purpose=purpose,
            risk=risk,
            objective=objective,
            deadline_s=deadline_s,
            routes=tuple(routes),
            request=request,
            reply=reply,
            entity=entity,
            has_context=cls.context is not Integration.context,
            has_decide=has_decide,
            places={field: (self.file, line) for field, line in {"": 0, **self._lines}.items()},
        )

    def _risk(self) -> Risk:
        try:
            return Risk(self.cls.risk)
        except ValueError:
            self.wrong(
                "risk",
                repr(self.cls.risk),
                f"one of {', '.join(Risk)}",
                "use splice.Risk.HIGH, LIMITED or MINIMAL",
            )
            return Risk.HIGH

    def _deadline(self) -> float:
        try:
            deadline_s = seconds(self.cls.deadline, "deadline")
        except DeclarationError as error:
            self.wrong("deadline", error.got, error.promised, error.mend)
            return MAX_DEADLINE
        if deadline_s > MAX_DEADLINE or deadline_s < 0.001:
            self.wrong(
                "deadline",
                f"{deadline_s:g} s",
                f"between 1 ms and {MAX_DEADLINE:g} s",
                "a caller who may wait longer wants splice batch or an event",
            )
        return deadline_s

    def _objective(self) -> Objective | None:
        objective = cast("Any", self.cls.objective)
        if objective is None:
            return None
        if not isinstance(objective, Objective):
            self.wrong(
                "objective",
                type(objective).__name__,
                "a splice.Objective",
                'write splice.Objective(kpi="…", unit="…", …)',
            )
            return None
        try:
            if objective.value_per_unit:
                money(objective.value_per_unit, "value_per_unit")
            if objective.due:
                date.fromisoformat(objective.due)
        except DeclarationError as error:
            self.wrong("objective", error.got, error.promised, error.mend)
        except ValueError:
            self.wrong(
                "objective",
                repr(objective.due),
                "an ISO 8601 date for due",
                'write it like "2027-06-30"',
            )
        return objective

    def _types(self, which: str) -> tuple[Codec | None, Any]:
        kind: Any = getattr(self.cls, which) or self._annotated(which)
        if kind is None:
            example = "def decide(self, payment: Payment, prediction) -> Screening"
            self.wrong(
                which,
                "no type",
                f"a {which} type",
                f"annotate decide(), e.g. `{example}`, or set {which} = …",
            )
            return None, None
        try:
            made = codec(kind)
            made.schema()
        except (TypeError, NotImplementedError, NameError, ValueError) as error:
            self.wrong(
                which,
                str(error),
                "a Struct, dataclass or pydantic model of JSON values",
                "mend the type of the field that it names",
            )
            return None, None
        return made, kind

    def _annotated(self, which: str) -> Any:
        functions: list[Any] = [self.cls.decide, self.cls.context]
        for function in functions:
            if function in (Integration.decide, Integration.context):
                continue
            try:
                hints = get_type_hints(function, include_extras=True)
            except (NameError, TypeError) as error:
                self.wrong(
                    function.__name__,
                    str(error),
                    "annotations that can be resolved",
                    "import or define the name at the top of the module",
                )
                continue
            names = [n for n in inspect.signature(function).parameters if n != "self"]
            if which == "reply" and function.__name__ == "decide" and "return" in hints:
                return hints["return"]
            if which == "request" and names and names[0] in hints:
                return hints[names[0]]
        return None

    def _entity(self, kind: Any) -> str | None:
        try:
            return entity_field(kind)
        except TypeError as error:
            self.wrong(
                "request",
                str(error),
                "one field marked splice.Entity",
                "keep the one that outcomes will come by",
            )
            return None

    def _routes(self, deadline_s: float, reply: Codec | None) -> list[TimedRoute]:
        declared: list[Any] = list(self.cls.routes or ())
        if not declared:
            self.wrong(
                "routes",
                "none",
                "at least one route",
                "add splice.Model(…), splice.LLM(…) or splice.Rule(…)",
            )
        labels = [r.label for r in declared if isinstance(r, (Model, LLM, Rule))]
        for label in {one for one in labels if labels.count(one) > 1}:
            self.wrong("routes", f"{label} twice", "each route once", "leave one out")
        read = [
            self._route(route, i, len(declared), deadline_s, reply)
            for i, route in enumerate(declared)
        ]
        explicit = [r.timeout_s for r in read if r and r.route.timeout is not None]
        if explicit and sum(explicit) > deadline_s + 1e-9:
            self.wrong(
                "deadline",
                f"routes that may take {sum(explicit):g} s together",
                f"at most the deadline of {deadline_s:g} s",
                "raise the deadline or lower a timeout: the last route would never get its turn",
            )
        return [r for r in read if r is not None]

    def _route(
        self, route: Any, position: int, count: int, deadline_s: float, reply: Codec | None
    ) -> TimedRoute | None:
        if not isinstance(route, (Model, LLM, Rule)):
            self.wrong(
                "routes",
                f"{type(route).__name__} at position {position}",
                "splice.Model, splice.LLM or splice.Rule",
                "wrap it in one of them",
            )
            return None
        # Without a word of the user a route gets four fifths of the deadline, so that what stands
        # behind it still has its turn; the last has all that is left.
        timeout_s = deadline_s if position == count - 1 else deadline_s * 0.8
        if route.timeout is not None:
            try:
                timeout_s = seconds(route.timeout, "timeout")
            except DeclarationError as error:
                self.wrong("routes", error.got, error.promised, error.mend)
        if isinstance(route, Rule):
            self._check_rule(route)
            return TimedRoute(route, timeout_s)
        if isinstance(route, Model):
            if not _MODEL_REF.fullmatch(route.ref):
                self.wrong(
                    "routes",
                    repr(route.ref),
                    "name, name@alias or name@version",
                    'write it like "credit@champion"',
                )
            return TimedRoute(
                msgspec.structs.replace(route, features=tuple(route.features)), timeout_s
            )
        return self._llm(route, timeout_s, reply)

    def _check_rule(self, route: Rule) -> None:
        if not callable(route.function) or inspect.iscoroutinefunction(route.function):
            self.wrong(
                "routes",
                repr(route.function),
                "a plain function of the context",
                "a rule needs no network: make it a def, not an async def",
            )
            return
        try:
            inspect.signature(route.function).bind({})
        except (TypeError, ValueError):
            self.wrong(
                "routes",
                f"{route.label} that cannot take one argument",
                "a function of the context",
                "let it take the mapping of context()",
            )

    def _llm(self, route: LLM, timeout_s: float, reply: Codec | None) -> TimedRoute | None:
        if not _LLM_REF.fullmatch(route.ref):
            self.wrong(
                "routes",
                repr(route.ref),
                "provider/model",
                'write it like "openai/gpt-5-mini"; providers are in splice.toml',
            )
        output = reply
        if route.output is not None:
            try:
                output = codec(route.output)
                output.schema()
            except (TypeError, ValueError, NotImplementedError) as error:
                self.wrong("routes", str(error), "an output type of JSON values", "mend the type")
                return None
        try:
            text = self.prompts(route.prompt)
        except (OSError, UnicodeDecodeError) as error:
            self.wrong(
                "routes",
                f"prompt {route.prompt!r}: {error}",
                "a readable text file",
                f"write it at {route.prompt} beside splice.toml",
            )
            return None
        try:
            prompt = parse_prompt(text, route.prompt)
        except DeclarationError as error:
            error.file = route.prompt
            self.mistakes.append(error)
            return None
        return TimedRoute(route, timeout_s, prompt, output)


def _lines_of(tree: ast.Module, class_name: str) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            yield "", node.lineno
            for part in node.body:
                if isinstance(part, ast.Assign):
                    yield from (
                        (t.id, part.lineno) for t in part.targets if isinstance(t, ast.Name)
                    )
                elif isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
                    yield part.target.id, part.lineno
                elif isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    yield part.name, part.lineno


def integrations_in(module: ModuleType) -> list[type[Integration]]:
    """The integration classes that a module itself defines, in the order of their lines."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Integration)
        and value is not Integration
        and value.__module__ == module.__name__
        and not value.__dict__.get("abstract", False)
    ]


def read(
    cls: type[Integration], tree: ast.Module, file: str, prompts: ReadText
) -> tuple[Declaration | None, list[DeclarationError]]:
    """The declaration of a class, or None with every mistake in it.

    Args:
        cls: The class.
        tree: Syntax tree of its module, for line numbers.
        file: Where the module stands, for messages.
        prompts: Reads the text of a prompt by its path.
    """
    reader = _Reader(cls, tree, file, prompts)
    declaration = reader.read()
    return declaration, reader.mistakes


def objective_plain(objective: Objective | None) -> Mapping[str, Any]:
    """The objective as JSON values, for a manifest."""
    return {} if objective is None else cast("dict[str, Any]", msgspec.to_builtins(objective))
