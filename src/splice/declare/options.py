"""What a declaration says beside its types and routes: caching, logging, budgets, names."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from splice.core.access import Budget, BudgetScope, Period
from splice.core.duties import PinnedAssessment
from splice.core.errors import DeclarationError
from splice.core.monitors import PinnedMonitor
from splice.core.profiles import PinnedProfile
from splice.core.protection import PinnedProtection
from splice.core.reviews import PinnedReview
from splice.core.truths import PinnedTruth
from splice.core.units import money, seconds
from splice.declare.assessment import read_assessment
from splice.declare.gate_reading import read_gates
from splice.declare.gates import ReadGates
from splice.declare.monitor_reading import read_monitors
from splice.declare.policy_reading import ReadPolicies, read_policies
from splice.declare.profiling import read_profile
from splice.declare.protection import read_protect, recorded_rules
from splice.declare.review_reading import overdue_monitor, read_review
from splice.declare.spec import LLM, Cache, Cheapest, Conversation, Integration, Log, Risk, Spend
from splice.declare.truth_reading import read_truths
from splice.declare.validity_reading import validity_monitors, with_truths

Wrong = Callable[[str, str, str, str], None]
"""Notes a mistake: field, what came, what was expected, what to do."""

_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_PATTERN = re.compile(r"[A-Za-z0-9*?][\w*?.:-]{0,31}/\S{1,128}")
CONVERSATION_RETRIES = 2
FIRST_TOKEN_S = 30.0
BETWEEN_TOKENS_S = 30.0


class Patience(msgspec.Struct, frozen=True):
    """How long and how often a route to a language model is tried."""

    retries: int = 0
    first_s: float = FIRST_TOKEN_S
    between_s: float = BETWEEN_TOKENS_S
    hedge_s: float | None = None


class Options(msgspec.Struct, frozen=True):
    """The options of an integration, read and found without fault. Durations are in seconds."""

    conversation: bool = False
    exact_s: float | None = None
    semantic_s: float | None = None
    cosine: float = 0.0
    across_tenants: bool = False
    log: Log | None = None
    budgets: tuple[Budget, ...] = ()
    currency: str = ""  # of budgets and bounds; empty where there are none
    cheapest: bool = False
    within_s: float | None = None
    quality: float | None = None
    coalesce: bool = False
    aliases: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    gates: tuple[ReadGates, ...] = ()
    monitors: tuple[PinnedMonitor, ...] = ()
    truths: tuple[PinnedTruth, ...] = ()
    profile: PinnedProfile | None = None
    review: PinnedReview | None = None
    protect: PinnedProtection | None = None
    policed: ReadPolicies = ReadPolicies()
    assessment: PinnedAssessment | None = None

    @property
    def recorded(self) -> Log | None:
        """What is kept of a call's texts, with all that is masked in them; None where all is."""
        log = self.log
        rules = recorded_rules(() if log is None else log.mask, self.protect)
        if not rules or (log is not None and rules == log.mask):
            return log
        return msgspec.structs.replace(log or Log(), mask=rules)

    @property
    def rules(self) -> tuple[str, ...]:
        """Every rule that something is masked by."""
        log = () if self.log is None else self.log.mask
        protect = () if self.protect is None else self.protect.mask
        return tuple(dict.fromkeys((*log, *protect)))


def read_patience(route: LLM, wrong: Wrong, *, conversation: bool) -> Patience:
    """How a route to a language model is tried; notes what is wrong with it."""
    given: Any = route.retries
    retries = CONVERSATION_RETRIES if conversation else 0
    if given is not None:
        if isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= 10:
            retries = given
        else:
            wrong("routes", f"retries={given!r}", "a number from 0 to 10", "write retries=2")
    quality: Any = route.quality
    if quality is not None and not (isinstance(quality, (int, float)) and 0 <= quality <= 1):
        wrong("routes", f"quality={quality!r}", "a share from 0 to 1", "write quality=0.9")
    return Patience(
        retries,
        _seconds(route.first_token, "routes", "first_token", wrong) or FIRST_TOKEN_S,
        _seconds(route.between_tokens, "routes", "between_tokens", wrong) or BETWEEN_TOKENS_S,
        _seconds(route.hedge, "routes", "hedge", wrong),
    )


def read_options(
    cls: type[Integration], name: str, risk: Risk, entity: str | None, wrong: Wrong
) -> Options:
    """The options of a class; notes what is wrong with them. `entity` is a field's name."""
    cache = _typed(cls, "cache", Cache, wrong) or Cache()
    log = _typed(cls, "log", Log, wrong)
    choose = _typed(cls, "choose", Cheapest, wrong)
    exact_s = _seconds(cache.exact, "cache", "exact", wrong)
    semantic_s = _seconds(cache.semantic, "cache", "semantic", wrong)
    conversation = issubclass(cls, Conversation)
    _check_meanings(cache, risk, conversation=conversation, wrong=wrong)
    if log is not None and not 0 <= log.keep <= 1:
        wrong("log", f"keep={log.keep!r}", "a share from 0 to 1", "write keep=0.1 for a tenth")
    budgets, currencies = _budgets(cls, name, wrong)
    retrains = cls.retrain is not Integration.retrain
    watched = read_monitors(cls.monitors, retrains=retrains, wrong=wrong)
    currency = _one_currency(currencies, watched.currencies, wrong)
    models = _names(cls, "models", _PATTERN, "provider/model, or a pattern of it", wrong)
    truths = read_truths(cls.truth, wrong)
    review = read_review(cls.review, log, truths, wrong)
    gates = _gates(cls, risk, truths, wrong)
    return Options(
        conversation=conversation,
        exact_s=exact_s,
        semantic_s=semantic_s,
        cosine=cache.cosine,
        across_tenants=cache.across_tenants,
        log=log,
        budgets=budgets,
        currency=currency,
        cheapest=choose is not None,
        within_s=None if choose is None else _seconds(choose.within, "choose", "within", wrong),
        quality=None if choose is None else choose.quality,
        coalesce=bool(cls.coalesce),
        aliases=_names(cls, "aliases", _ALIAS, "a name such as triage-fast", wrong),
        models=models,
        gates=gates,
        monitors=(*watched.monitors, *_implied(review, gates, watched.monitors)),
        truths=truths,
        profile=read_profile(cls.profile, entity, wrong),
        review=review,
        protect=read_protect(cls.protect, wrong, entity),
        policed=read_policies(cls.policies, conversation=conversation, wrong=wrong),
        assessment=read_assessment(cls.assessment, str(risk), wrong),
    )


def _check_meanings(cache: Cache, risk: Risk, *, conversation: bool, wrong: Wrong) -> None:
    if cache.semantic is not None and risk is Risk.HIGH:
        wrong(
            "cache",
            "a semantic cache where risk is high",
            "answers of its own to every question",
            "keep the exact cache, or lower the risk if a wrong answer is harmless",
        )
    if cache.semantic is not None and not conversation:
        wrong(
            "cache",
            "a semantic cache of typed requests",
            "a Conversation, or the exact cache",
            "write cache = splice.Cache(exact=…)",
        )
    if not 0 < cache.cosine <= 1:
        wrong("cache", f"cosine={cache.cosine!r}", "a number above 0, at most 1", "write 0.9")


def _one_currency(budgets: Sequence[str], monitors: Sequence[str], wrong: Wrong) -> str:
    currencies = list(dict.fromkeys([*budgets, *monitors]))
    if len(currencies) > 1:
        field = "monitors" if monitors else "budget"
        wrong(field, " and ".join(currencies), "one currency", "use the account's")
    return currencies[0] if currencies else ""


def _gates(
    cls: type[Integration], risk: Risk, truths: tuple[PinnedTruth, ...], wrong: Wrong
) -> tuple[ReadGates, ...]:
    read = read_gates(cls.gates, high_risk=risk is Risk.HIGH, wrong=wrong)
    return with_truths(read, truths, wrong)


def _implied(
    review: PinnedReview | None,
    gates: tuple[ReadGates, ...],
    declared: tuple[PinnedMonitor, ...],
) -> tuple[PinnedMonitor, ...]:
    """Monitors that nobody need declare: without them, nobody would be told."""
    return (*overdue_monitor(review, declared), *validity_monitors(gates))


def _typed(cls: type[Integration], field: str, kind: type[Any], wrong: Wrong) -> Any:
    given: Any = getattr(cls, field)
    if given is None or isinstance(given, kind):
        if given is None:
            return None
        try:
            # A Struct does not look at what it is made with: read it as if it had come in.
            return msgspec.convert(msgspec.to_builtins(given), kind)
        except (msgspec.ValidationError, TypeError) as error:
            wrong(field, str(error), f"a splice.{kind.__name__}", f"mend {field}")
            return None
    wrong(
        field,
        type(given).__name__,
        f"a splice.{kind.__name__}",
        f"write {field} = splice.{kind.__name__}(…)",
    )
    return None


def _seconds(given: Any, field: str, name: str, wrong: Wrong) -> float | None:
    if given is None:
        return None
    try:
        return seconds(given, name)
    except DeclarationError as error:
        wrong(field, f"{name} {error.got}", error.promised, error.mend)
        return None


def _names(
    cls: type[Integration], field: str, pattern: re.Pattern[str], promised: str, wrong: Wrong
) -> tuple[str, ...]:
    given: Any = getattr(cls, field, ())
    if not isinstance(given, (list, tuple)):
        wrong(field, type(given).__name__, "a list of names", "put it into brackets: [ … ]")
        return ()
    names = cast("Sequence[Any]", given)
    for one in names:
        if not isinstance(one, str) or not pattern.fullmatch(one):
            wrong(field, repr(one), promised, f"mend {field}")
            return ()
    return tuple(names)


def _budgets(
    cls: type[Integration], name: str, wrong: Wrong
) -> tuple[tuple[Budget, ...], list[str]]:
    given: Any = cls.budget
    spends = (given,) if isinstance(given, Spend) else given
    if not isinstance(spends, (list, tuple)):
        wrong("budget", type(given).__name__, "a splice.Spend, or several", 'Spend("EUR 50")')
        return (), []
    budgets: list[Budget] = []
    currencies: list[str] = []
    for one in cast("Sequence[Any]", spends):
        if not isinstance(one, Spend):
            wrong("budget", type(one).__name__, "a splice.Spend", 'write splice.Spend("EUR 50")')
            continue
        try:
            amount = money(one.amount, "budget")
            budgets.append(Budget(BudgetScope.INTEGRATION, name, Period(one.per), amount.nano))
            currencies.append(amount.currency)
        except DeclarationError as error:
            wrong("budget", error.got, error.promised, error.mend)
        except ValueError:
            wrong("budget", f"per={one.per!r}", f"one of {', '.join(Period)}", 'write per="month"')
    return tuple(budgets), currencies
