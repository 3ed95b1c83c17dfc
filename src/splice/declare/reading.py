"""From a class to a Declaration: types found, durations read, every mistake named."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from types import ModuleType
from typing import Any, cast, get_type_hints

import msgspec

from splice.core.errors import DeclarationError, InputMismatch
from splice.core.units import money, seconds
from splice.declare.bodies import mismatch, refuse_not_finite
from splice.declare.chats import ChatReply, ChatRequest
from splice.declare.codec import Codec, codec, entity_field, field_names
from splice.declare.options import Options, Wrong, read_options
from splice.declare.review_reading import check_paths
from splice.declare.rollouts import Plan, read_plan
from splice.declare.routes import ReadText, RouteReader, TimedRoute
from splice.declare.spec import Conversation, Integration, Objective, Risk
from splice.declare.spec import integration_name as name_of
from splice.declare.truth_reading import check_fields

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_KNOWN = tuple(
    name for kind in (Integration, Conversation) for name in vars(kind) if not name.startswith("_")
)
MAX_DEADLINE = 600.0


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
    fields: tuple[str, ...]  # of the request, as context() and the routes see them
    options: Options = Options()
    plan: Plan = Plan()
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
        self._unresolved = False  # a mistake in an annotation was noted: types may be lacking

    def wrong(self, field: str, got: str, promised: str, mend: str) -> None:
        """Note a mistake at the line where the field is set, or at the class."""
        line = self._lines.get(field) or self._lines.get("", 0)
        where = f"{self.cls.__name__}.{field}" if field else self.cls.__name__
        if any((one.where, one.got) == (where, got) for one in self.mistakes):
            return
        self.mistakes.append(
            DeclarationError(
                where, got=got, promised=promised, mend=mend, file=self.file, line=line
            )
        )

    def read(self) -> Declaration | None:
        """The declaration, or None where there are mistakes."""
        cls = self.cls
        purpose = self._name_and_purpose()
        self._misspelt()
        risk = self._risk()
        deadline_s = self._deadline()
        objective = self._objective()
        request, request_type = self._types("request")
        reply, reply_type = self._types("reply")
        entity = self._entity(request_type)
        options = read_options(cls, self.name, risk, entity, self.wrong)
        check_fields(options.truths, reply_type, self.wrong)
        check_paths(options.review, request, reply, self.wrong)
        has_context = cls.context is not Integration.context
        has_decide = cls.decide is not Integration.decide
        self._made_without_arguments()
        self._arguments("context", "self, request, look", given=has_context)
        self._arguments("decide", "self, request, prediction[, context]", given=has_decide)
        if inspect.iscoroutinefunction(cls.decide):
            self.wrong(
                "decide",
                "an async function",
                "a plain function of request, prediction and context",
                "gather what it needs in context()",
            )
        fields = None if has_context or request is None else field_names(request_type)
        reader = self._route_reader(deadline_s, reply, fields, options)
        routes = reader(self.wrong)(cls.routes)
        plan = read_plan(cls, self.wrong, lambda given, wrong: reader(wrong)(given), entity)
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
            has_context=has_context,
            has_decide=has_decide,
            fields=tuple(field_names(request_type)),
            options=options,
            plan=plan,
            places={field: (self.file, line) for field, line in {"": 0, **self._lines}.items()},
        )

    def _name_and_purpose(self) -> str:
        if not isinstance(cast("Any", self.name), str) or not _NAME.fullmatch(self.name):
            self.wrong(
                "name",
                repr(self.name),
                "lower-case letters, digits and hyphens, at most 63",
                'name it like "fraud-screening"',
            )
        purpose = inspect.cleandoc(self.cls.__dict__.get("__doc__") or "").strip()
        if not purpose:
            self.wrong(
                "",
                "no docstring",
                "its purpose in one sentence",
                "say under the class line what it is for",
            )
        return purpose

    def _route_reader(
        self, deadline_s: float, reply: Codec | None, fields: list[str] | None, options: Options
    ) -> Callable[[Wrong], Callable[[Any], list[TimedRoute]]]:
        def reader(wrong: Wrong) -> Callable[[Any], list[TimedRoute]]:
            talks = options.conversation
            return RouteReader(
                deadline_s, reply, fields, self.prompts, wrong, self.mistakes, talks
            ).read

        return reader

    def _misspelt(self) -> None:
        """A name that is nearly one of ours: it would be ignored, and its promise with it."""
        for field in self.cls.__dict__:
            if field.startswith("_") or field in _KNOWN:
                continue
            meant = difflib.get_close_matches(field, _KNOWN, 1, 0.72)
            if meant:
                self.wrong(
                    field,
                    f"an unknown attribute, {field}",
                    f"{meant[0]}, perhaps",
                    f"write {meant[0]}, or begin a name of your own with _",
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
            # A Struct does not look at what it is made with: read it as if it had come in.
            objective = msgspec.convert(msgspec.to_builtins(objective), Objective)
            refuse_not_finite(objective, "")
        except (msgspec.ValidationError, TypeError, InputMismatch) as error:
            bad = error if isinstance(error, InputMismatch) else mismatch(error, "")
            field = bad.where.strip(".") or "objective"
            self.wrong("objective", f"{bad.got} for {field}", bad.promised, f"mend {field}")
            return None
        if not objective.kpi.strip():
            self.wrong("objective", "no kpi", "the figure that it moves", 'write kpi="…"')
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
        if kind is None and issubclass(self.cls, Conversation):
            kind = ChatRequest if which == "request" else ChatReply
        if kind is None and self._unresolved:
            return None, None
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
            if which == "request" and not _has_fields(kind):
                raise TypeError(f"{getattr(kind, '__name__', kind)}, which has no named fields")
        except Exception as error:  # noqa: BLE001 - the types are the user's own code
            self.wrong(
                which,
                str(error),
                "a Struct, dataclass or pydantic model of JSON values",
                "mend the type of the field that it names",
            )
            return None, None
        return made, kind

    def _made_without_arguments(self) -> None:
        try:
            inspect.signature(self.cls).bind()
        except (TypeError, ValueError):
            self.wrong(
                "__init__",
                "a constructor that takes arguments",
                "a class that can be made without any",
                "read what it needs at the top of the module, or in context()",
            )

    def _arguments(self, name: str, arguments: str, *, given: bool) -> None:
        if not given:
            return
        try:
            signature = inspect.signature(getattr(object.__new__(self.cls), name))
            most = arguments.count(",")
            least = most - arguments.count("[")
            signature.bind(*(None,) * max(least, len(signature.parameters)))
            given_last = list(signature.parameters.values())[least:]
            if len(signature.parameters) > most or any(
                one.default is not one.empty
                for one in given_last  # an argument of its own
            ):
                raise TypeError
        except (TypeError, ValueError):
            self.wrong(
                name,
                "arguments that do not fit",
                f"def {name}({arguments})",
                "it is called with those and nothing else",
            )

    def _annotated(self, which: str) -> Any:
        functions: list[Any] = [self.cls.decide, self.cls.context]
        for function in functions:
            if function in (Integration.decide, Integration.context):
                continue
            try:
                hints = get_type_hints(function, include_extras=True)
            except Exception as error:  # noqa: BLE001 - annotations are the user's own code
                self._unresolved = True
                self.wrong(
                    getattr(function, "__name__", which),
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


def _has_fields(kind: Any) -> bool:
    if not isinstance(kind, type):
        return False
    plain = cast("type[object]", kind)
    if issubclass(plain, msgspec.Struct) or hasattr(plain, "model_fields"):
        return True
    return dataclasses.is_dataclass(plain)


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
        for value in dict.fromkeys(one for one in vars(module).values() if isinstance(one, type))
        if issubclass(value, Integration)
        and value not in (Integration, Conversation)
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
