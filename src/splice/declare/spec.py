"""What a user writes: the spec sheet of an integration, its types and its routes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Protocol

import msgspec

from splice.declare.assessment import Assessment
from splice.declare.gates import Gates
from splice.declare.monitors import Monitor
from splice.declare.policies import Policy
from splice.declare.profiling import Profile
from splice.declare.protection import Protect
from splice.declare.retraining import Pipeline
from splice.declare.reviews import Review
from splice.declare.truths import Truth


class EntityMark:
    """Marks the field that names who or what a call is about."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Entity"


MAX_ENTITY = 256
"""Characters of an entity key. It is an index key in every store; a longer one is a mistake."""

Entity = Annotated[
    str, msgspec.Meta(min_length=1, max_length=MAX_ENTITY, extra={"splice": "entity"}), EntityMark()
]
"""The key that joins features, stickiness and later outcomes: 1 to 256 characters."""


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of a request type: typed fields, unknown ones refused."""


class Reply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of a reply type: typed fields, checked before the caller sees them."""


class Risk(StrEnum):
    """What a wrong or lost answer may do; `HIGH` replies only after the ledger has committed."""

    MINIMAL = "minimal"
    LIMITED = "limited"
    HIGH = "high"


class Objective(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The business figure that the integration must move.

    `value_per_unit` is the money that a change of one whole unit of the figure is worth in a year:
    for a rate, the value of going from 0 to 1.
    """

    kpi: str
    unit: str = ""
    baseline: float | None = None
    target: float | None = None
    due: str = ""  # ISO 8601 date
    value_per_unit: str = ""  # "EUR 4_100_000"
    outcome: str = ""  # the outcome that tells it, where its name is not the kpi's


class Lookup(Protocol):
    """What `context()` may ask; every answer is recorded with its source and age."""

    async def features(self, view: str, entity: str) -> dict[str, Any]:
        """The features of an entity; empty where it is unknown."""
        ...

    def now_us(self) -> int:
        """When the call was asked, in Unix microseconds; the same again in a replay."""
        ...


class Model(msgspec.Struct, frozen=True):
    """A route to a registered model: `credit`, `credit@champion` or `credit@3`.

    `features` names the columns of a model that reads one matrix, in their order.
    """

    ref: str
    features: tuple[str, ...] = ()
    timeout: str | float | None = None

    @property
    def label(self) -> str:
        """The route's name on the wire and in metrics."""
        name, _, which = self.ref.partition("@")
        # Two versions of one model may stand one behind the other: then each has its number.
        return f"model:{self.ref}" if which.isdigit() else f"model:{name}"


class LLM(msgspec.Struct, frozen=True):
    """A route to a language model: `provider/model`, with a prompt file and an output type.

    `prompt` is a path in the project, from the folder that imports start from. `output` is the type
    that the model must answer in; the reply type where it is left out. `params` go to the provider
    as they are. In a `Conversation` both may be left out: the caller brings the messages. A prompt
    then is put before them, and `params` stand where the caller says nothing.

    `retries` is how often the provider is asked again when it fails for the moment: 0 where left
    out, 2 in a conversation. `first_token` and `between_tokens` bound the silence of a stream.
    `hedge` starts a second try beside the first when nothing has come for so long: it costs twice,
    and cuts the slowest answers. `quality` is how good you measured the route to be, from 0 to 1,
    for `Cheapest`.
    """

    ref: str
    prompt: str = ""
    output: Any = None  # any type that msgspec or pydantic can decode
    timeout: str | float | None = None
    params: dict[str, Any] = {}  # the provider's own names and values
    retries: int | None = None
    first_token: str | float | None = None
    between_tokens: str | float | None = None
    hedge: str | float | None = None
    quality: float | None = None

    @property
    def label(self) -> str:
        """The route's name on the wire and in metrics."""
        return f"llm:{self.ref}"


class Rule(msgspec.Struct, frozen=True):
    """A route that is a plain function of the context; it needs no model and no network.

    It returns a `Prediction`, or a plain value, which becomes the prediction's value (and its
    score where it is a number between 0 and 1).
    """

    function: Callable[[Mapping[str, Any]], Any]
    timeout: str | float | None = None

    @property
    def label(self) -> str:
        """The route's name on the wire and in metrics."""
        return f"rule:{getattr(self.function, '__name__', 'rule')}"


Route = Model | LLM | Rule


class Cache(msgspec.Struct, frozen=True, kw_only=True):
    """Answers kept and given again. Left out, nothing is.

    `exact` is how long the answer to the very same question is kept. `semantic` is how long it is
    kept for a question that means the same; it passes two checks, and can still be wrong: see the
    measured rates in the guide, and keep it to where a wrong answer is harmless. `cosine` is the
    least nearness of the first check. Answers are never shared between tenants unless
    `across_tenants` says so.
    """

    exact: str | float | None = None
    semantic: str | float | None = None
    cosine: float = 0.86
    across_tenants: bool = False


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """What of a call's texts is recorded; that it happened, its cost and its end always are.

    `keep` is the share of calls whose request and reply are kept: 1 is all, 0 is none. `mask` names
    what is masked in them: `email`, `phone`, `iban`, `card`, `ip`, `secret`, a rule of
    `splice.toml`, or `all` for every built-in rule. Masking fails closed: what cannot be masked is
    not kept.
    """

    keep: float = 1.0
    mask: tuple[str, ...] = ()


class Spend(msgspec.Struct, frozen=True):
    """The most that an integration may spend in a period: `Spend("EUR 200", per="month")`.

    `per` is `hour`, `day`, `week`, `month` or `total`.
    """

    amount: str
    per: str = "month"


class Cheapest(msgspec.Struct, frozen=True, kw_only=True):
    """Try the routes in the order of their price, instead of the order they are written in.

    Routes that do not meet the floor come last: those whose declared `quality` is lower, and those
    whose measured median latency is above `within`. A route whose price is unknown comes after
    those whose price is known.
    """

    within: str | float | None = None
    quality: float | None = None


class Guard(msgspec.Struct, frozen=True, kw_only=True):
    """A bound on the challenger of a rollout; broken, the rollout ends by itself.

    `figure` is `errors` (share of its calls that its own routes did not answer), `failures` (share
    without any answer), `latency_p50`, `latency_p95`, `latency_p99` ("80 ms"), `cost` (mean of a
    call, "EUR 0.002"), or `outcome:NAME` (mean of an outcome; true counts 1). `at_most` and
    `at_least` bound it; `worse_by` bounds how much higher it may be than the champion's (how much
    lower where `higher_is_better`).
    """

    figure: str
    at_most: str | float | None = None
    at_least: str | float | None = None
    worse_by: str | float | None = None
    higher_is_better: bool = False


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """How a challenger gets its share of the calls. Whoever has an entity keeps his variant.

    `challenger` is the route, or the routes, that stand before those of the release; where it is
    left out, `splice rollout start` names it. A fixed `share` ("10 %"), or `steps` that a canary
    climbs: each lasts at least `every` and `min_calls` calls of the challenger, and the next is
    taken while every guard holds. After the last step it stays there (`then="hold"`) or becomes the
    champion (`then="promote"`, through the gates). `flag` names an OpenFeature flag whose value
    (`champion`, `challenger` or `off`) chooses instead of the share.
    """

    challenger: Model | LLM | Rule | list[Any] | tuple[Any, ...] | None = None  # routes
    share: str | float | None = None
    steps: tuple[str | float, ...] | list[str | float] = ()
    every: str | float = "10 min"
    min_calls: int = 100
    guards: tuple[Guard, ...] | list[Guard] = ()
    then: str = "hold"
    flag: str = ""


class Shadow(msgspec.Struct, frozen=True):
    """Routes that repeat a share of the answered calls; their answers are recorded, never given.

    A shadow costs what its calls cost; no caller waits for it.
    """

    routes: Model | LLM | Rule | list[Any] | tuple[Any, ...]  # routes
    share: str | float = 1.0


class Holdout(msgspec.Struct, frozen=True):
    """A share of the entities that gets business as usual: a rule, and never the AI.

    How everybody else does beside them is what the integration is worth; without them that is an
    estimate (see `splice value`). `route` is the rule; the last rule of `routes` where it is left
    out. Whoever is held out stays so while the share only grows, whatever rollouts do. Another
    `season` ("2027") holds out others. A call without an entity is never held out.
    """

    share: str | float
    route: Rule | None = None
    season: str = ""


class Integration:
    """One AI capability inside one business workflow. Subclass it; the docstring is its purpose.

    Attributes:
        name: On the wire; the class name in kebab-case where it is left out.
        objective: The business figure that it must move.
        risk: What a wrong or lost answer may do.
        deadline: The longest a caller waits, fallbacks included: "100 ms".
        routes: Ways to answer, in order of trust.
        request: The request type, where `context` and `decide` do not name it.
        reply: The reply type, where `decide` does not name it.
        cache: Which answers are kept and given again; none where it is left out.
        log: What of a call's texts is recorded; all where it is left out.
        budget: The most that it may spend, each in its period.
        choose: In which order the routes are tried; as written where it is left out.
        coalesce: Whether simultaneous identical questions of one tenant share one answer.
        aliases: Further names under which OpenAI and Anthropic clients find it as a model.
        rollout: How a challenger gets its share of the calls; none where it is left out.
        shadow: Routes that only repeat calls; none where it is left out.
        holdout: Who gets business as usual, to measure by; nobody where it is left out.
        gates: What a version of a model must pass before it answers; nothing where left out.
        monitors: What of its calls is watched, and what is done when it is bad.
        truth: Which outcome tells whether it was right; nothing tells it where left out.
        profile: Which columns of its calls are profiled; all, in no segments, where left out.
        review: Which calls a person must look at; none where left out.
        protect: How personal data in it is kept from providers, and in the ledger.
        policies: Rules about what may go into a model, and what may come out.
        assessment: What it is for, in the words of the risk questionnaire.
    """

    name: ClassVar[str] = ""
    objective: ClassVar[Objective | None] = None
    risk: ClassVar[Risk] = Risk.LIMITED
    deadline: ClassVar[str | float] = "20 s"
    # A list reads better in a declaration; it is read once and never changed.
    routes: ClassVar[list[Route] | tuple[Route, ...]] = ()
    request: ClassVar[Any] = None
    reply: ClassVar[Any] = None
    cache: ClassVar[Cache | None] = None
    log: ClassVar[Log | None] = None
    budget: ClassVar[tuple[Spend, ...] | list[Spend] | Spend] = ()
    choose: ClassVar[Cheapest | None] = None
    coalesce: ClassVar[bool] = False
    aliases: ClassVar[tuple[str, ...] | list[str]] = ()
    rollout: ClassVar[Rollout | None] = None
    shadow: ClassVar[Shadow | None] = None
    holdout: ClassVar[Holdout | None] = None
    gates: ClassVar[Gates | tuple[Gates, ...] | list[Gates] | None] = None
    monitors: ClassVar[tuple[Monitor, ...] | list[Monitor]] = ()
    truth: ClassVar[Truth | tuple[Truth, ...] | list[Truth] | None] = None
    profile: ClassVar[Profile | None] = None
    review: ClassVar[Review | None] = None
    protect: ClassVar[Protect | None] = None
    policies: ClassVar[tuple[Policy, ...] | list[Policy]] = ()
    assessment: ClassVar[Assessment | None] = None

    def context(self, request: Any, look: Lookup, /) -> Any:
        """What the routes see: a mapping. May be `async`. Left out, it is the request's fields."""
        raise NotImplementedError

    # Any, Any: type checkers let a declaration take two arguments or three.
    def decide(self, *args: Any, **kwargs: Any) -> Any:
        """What the business does: `decide(request, prediction)` gives the reply.

        `decide(request, prediction, context)` sees what the routes saw, too. Left out, the
        prediction's `value` itself is the reply.
        """
        raise NotImplementedError

    def retrain(self) -> Pipeline:
        """How its model is trained anew. Left out, nothing trains it. A server never calls this."""
        raise NotImplementedError


class Conversation(Integration):
    """An integration whose callers bring the messages: chats, agents, assistants, embeddings.

    OpenAI and Anthropic clients call it by its name or an alias in `model`; its routes are all
    `LLM`. It needs neither `context` nor `decide`.

    Attributes:
        models: Patterns of `provider/model` that a caller may name himself where his key allows it,
            such as `"openai/*"`. Such a call has that one route.
    """

    models: ClassVar[tuple[str, ...] | list[str]] = ()


def integration_name(cls: type[Integration]) -> str:
    """The declared name, or the class name in kebab-case: `FraudScreening` is `fraud-screening`."""
    if cls.name:
        return cls.name
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", cls.__name__)
    return words.lower().replace("_", "-").strip("-")
