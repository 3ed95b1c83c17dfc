"""Trying a prompt: recorded calls are asked again with it, beside what was answered to them.

What a call saw then (its recorded context) is what the candidate sees; `context()` is not run
again. Only the route with the prompt is asked, so that no other hides where it fails. Nothing is
recorded as a call, and no budget is charged; the provider charges what it always does.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from splice.app.prompt_verdicts import Comparison, Side, Tried, fits, judged
from splice.app.prompt_versions import UnknownPrompt, prompt_routes, release_of
from splice.app.watch import Watcher
from splice.app.wiring import Services
from splice.core.call import Call, Reason, Record, Status
from splice.core.errors import DeclarationError, SpliceError
from splice.core.release import PinnedRoute, Release
from splice.declare.prompts import Prompt, parse_prompt
from splice.declare.reading import Declaration
from splice.engine.admit import entity_of
from splice.engine.gather import Look
from splice.engine.line import Line
from splice.ports.stores import CallFilter

_PAGE = 200
_REUSED = frozenset((Reason.REPEATED, Reason.CACHED, Reason.SIMILAR, Reason.SHARED))


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What to try, and on which calls.

    Attributes:
        integration: Its name.
        text: The candidate: the content of a prompt file.
        path: Its name, for messages and the version.
        route: Label of the route to put it on; needed where several have prompts.
        against: Release to ask again for comparison; what was recorded where it is None.
        calls: At most so many, the newest.
        since_us: Only calls asked since, in Unix microseconds.
        fields: Outcome to the field of the reply that foretells it, where the names differ.
        at_once: Calls that are asked at the same time.
    """

    integration: str
    text: str
    path: str
    route: str | None = None
    against: int | None = None
    calls: int = 20
    since_us: int | None = None
    fields: Mapping[str, str] = {}
    at_once: int = 4


async def try_prompt(services: Services, watcher: Watcher, trial: Trial) -> Comparison:
    """The candidate beside what it would replace, call by call.

    Raises:
        UnknownIntegration: It has no live release.
        UnknownRelease: `against` names none.
        UnknownPrompt: No route with a prompt, or several and none is named.
        DeclarationError: The candidate is no prompt, or uses what the request has not.
    """
    releases = services.stores.releases
    live = await asyncio.to_thread(release_of, releases, trial.integration, None)
    base = live
    if trial.against is not None:
        base = await asyncio.to_thread(release_of, releases, trial.integration, trial.against)
    declaration = await asyncio.to_thread(
        watcher.declaration, live.manifest.bundle, live.manifest.entry
    )
    pinned = _route(live, trial)
    candidate = _candidate(declaration, trial)
    after = await asyncio.to_thread(_line, services, live, declaration, pinned, candidate)
    before: Line | None = None
    if trial.against is not None:
        older = await asyncio.to_thread(
            watcher.declaration, base.manifest.bundle, base.manifest.entry
        )
        before = await asyncio.to_thread(_line, services, base, older, _route(base, trial), None)
    records, skipped = await asyncio.to_thread(_records, services, trial)
    compared = _Compared(services, trial, before, after)
    rows = await compared.rows(records)
    skipped.update(compared.skipped)
    return Comparison(
        integration=trial.integration,
        route=pinned.label,
        before=pinned.version if before is None else before.steps[0].route.version,
        before_release=None if before is None else base.number,
        after=after.steps[0].route.version,
        skipped=dict(skipped),
        calls=rows,
    )


def _route(release: Release, trial: Trial) -> PinnedRoute:
    found = [one for one in prompt_routes(release) if trial.route in (None, one.label)]
    if len(found) == 1:
        return found[0]
    same = [one for one in found if one.prompt == trial.path]
    if len(same) == 1:
        return same[0]
    labels = ", ".join(one.label for one in prompt_routes(release))
    raise UnknownPrompt(
        f"{release.integration} release {release.number}",
        got=f"no route {trial.route}" if trial.route else f"{len(found)} routes with a prompt",
        promised=f"one of {labels or 'none: it has no prompts'}",
        mend="name the route with --route" if labels else "write a splice.LLM route with a prompt",
    )


def _candidate(declaration: Declaration, trial: Trial) -> Prompt:
    try:
        prompt = parse_prompt(trial.text, trial.path, before=declaration.options.conversation)
    except DeclarationError as error:
        error.file = trial.path
        raise
    lacking = [name for name in prompt.variables if name not in declaration.fields]
    if lacking and not declaration.has_context:
        raise DeclarationError(
            trial.path,
            got=f"{{{{{lacking[0]}}}}}, which the request has not",
            promised=f"variables among {', '.join(declaration.fields)}",
            mend="return it from context(), or take it out of the prompt",
        )
    return prompt


def _line(
    services: Services,
    release: Release,
    declaration: Declaration,
    pinned: PinnedRoute,
    prompt: Prompt | None,
) -> Line:
    """The release with one route, and another prompt on it where one is given."""
    timed = declaration.routes[pinned.position]
    if prompt is not None:
        timed = msgspec.structs.replace(timed, prompt=prompt)
        pinned = msgspec.structs.replace(
            pinned,
            prompt=prompt.path,
            prompt_sha256=prompt.sha256,
            version=f"{pinned.model} prompt {prompt.version}",
        )
    manifest = msgspec.structs.replace(release.manifest, routes=(pinned,))
    return services.compiler.compile(
        msgspec.structs.replace(release, manifest=manifest),
        msgspec.structs.replace(declaration, routes=(timed,)),
    )


def _records(services: Services, trial: Trial) -> tuple[list[Record], Counter[str]]:
    """The newest calls with their texts, newest first, and how many were passed over, and why."""
    store = services.stores.records
    found: list[Record] = []
    skipped: Counter[str] = Counter()
    wanted = CallFilter(
        integration=trial.integration, since_us=trial.since_us, limit=min(_PAGE, trial.calls * 2)
    )
    while len(found) < trial.calls:
        page = store.find(wanted)
        if not page:
            break
        whole = store.get_many([one.call_id for one in page])
        for record in (whole[one.call_id] for one in page if one.call_id in whole):
            if len(found) == trial.calls:
                break
            why = _unfit(record)
            if why:
                skipped[why] += 1
            else:
                found.append(record)
        wanted = msgspec.structs.replace(wanted, before_id=page[-1].call_id)
    return found, skipped


def _unfit(record: Record) -> str:
    """Why a call cannot be asked again; empty where it can."""
    if record.status is Status.REFUSED:
        return "refused before it was asked"
    if record.reason in _REUSED:
        return "answered by what was answered before"
    return "" if record.input else "its texts were not kept"


class _Compared:
    """The calls of a trial, asked again; `skipped` counts those that a release does not take."""

    def __init__(self, services: Services, trial: Trial, before: Line | None, after: Line) -> None:
        self._services = services
        self._trial = trial
        self._before, self._after = before, after
        self._turn = asyncio.Semaphore(max(1, trial.at_once))
        self.skipped: Counter[str] = Counter()

    async def rows(self, records: list[Record]) -> list[Tried]:
        """One for each call that could be asked, in their order."""
        found = await asyncio.gather(*(self._row(record) for record in records))
        return [one for one in found if one is not None]

    async def _row(self, record: Record) -> Tried | None:
        async with self._turn:
            try:
                before = record
                if self._before is not None:
                    before = await self._again(self._before, record)
                after = await self._again(self._after, record)
            except SpliceError as error:
                self.skipped[f"not taken: {error.code}"] += 1
                return None
        outcomes = await asyncio.to_thread(self._services.stores.outcomes.outcomes_of, record)
        fields = self._trial.fields
        verdicts = judged(
            fits(before.reply, outcomes, fields),
            fits(after.reply, outcomes, fields),
            (before.reply is not None, after.reply is not None),
        )
        happened = {one.name: one.value for one in outcomes}
        return Tried(record.call_id, _side(before), _side(after), happened, *verdicts)

    async def _again(self, line: Line, record: Record) -> Record:
        """What the route answers to what the call saw then; nothing is recorded.

        Raises:
            RequestError: The release does not take the recorded input.
        """
        request = line.request.decode(record.input, line.where)
        if record.context is not None:
            seen: dict[str, Any] = msgspec.json.decode(record.context, type=dict[str, Any])

            def as_then(request: Any, look: Any, /) -> Mapping[str, Any]:
                return seen

            line = msgspec.structs.replace(line, context=as_then)
        call = Call(
            id=record.call_id,
            integration=record.integration,
            body=record.input,
            asked_us=record.asked_us,
            surface="trial",
        )
        look = Look(record.asked_us, self._services.features, record.gathered)
        engine = self._services.engine
        answered = await engine.run(line, call, request, look, entity_of(line, request))
        return answered.record


def _side(record: Record) -> Side:
    prompted = [one for one in record.attempts if one.route.startswith("llm:")]
    usages = [one.usage for one in record.attempts if one.usage is not None]
    problem = record.problem
    ended = [one.ended for one in prompted]
    valid = True if "answered" in ended else False if "bad_answer" in ended else None
    return Side(
        release=record.release,
        version=record.version,
        reply=msgspec.Raw(record.reply) if record.reply is not None else None,
        typed=valid,
        why="" if problem is None else f"{problem.code}: {_why(record)}",
        latency_us=sum(one.latency_us for one in record.attempts),
        input_tokens=sum(one.input_tokens or 0 for one in usages) if usages else None,
        output_tokens=sum(one.output_tokens or 0 for one in usages) if usages else None,
        cost_nano=record.cost_nano,
    )


def _why(record: Record) -> str:
    told = [one.why for one in record.attempts if one.why]
    return told[-1] if told else ("" if record.problem is None else record.problem.detail)
