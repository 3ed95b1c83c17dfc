"""Policy cases: texts with what policies are to do with them, as unit tests of a declaration."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec

from splice.app import wiring
from splice.app.policing import detectors_of
from splice.app.settings import Settings
from splice.core.errors import DeclarationError, InputMismatch, RefusedError
from splice.core.policies import PolicyResult, PolicyRun, Station
from splice.declare.discover import Found, find
from splice.engine.guard import Asking, Guard
from splice.engine.guarding import guard_of

_BAD_FIRST: tuple[PolicyResult, ...] = (
    "unavailable", "refused", "redacted", "review", "flagged", "passed",
)  # fmt: skip


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One text, and what is expected.

    `expect` is what the policies that stand `at` do with `text`, or what `policy` does where one is
    named; the hardest of them counts. `tool` asks about a tool's name in place of a text. `times`
    repeats the text, for long ones. `id` and whatever stands in `note` are for the reader.
    """

    expect: PolicyResult
    text: str = ""
    tool: str | None = None
    at: Station = "input"
    policy: str = ""
    integration: str = ""
    becomes: str | None = None
    times: int = 1
    id: str = ""
    note: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """What came of a case."""

    line: int
    case: Case
    did: PolicyResult
    found: str = ""
    became: str | None = None

    @property
    def good(self) -> bool:
        """Whether it is as expected."""
        kept = self.case.becomes is None or self.case.becomes == self.became
        return self.did == self.case.expect and kept


def declared(settings: Settings) -> list[Found]:
    """The integrations of a project.

    Raises:
        DeclarationError: The first mistake in one.
    """
    found, mistakes = find(*wiring.modules_of(settings))
    if mistakes:
        raise mistakes[0]
    return found


def read_cases(file: Path) -> list[Case]:
    """The cases in a JSONL file; empty lines and lines that begin with # are left out.

    Raises:
        InputMismatch: A line is none.
    """
    cases: list[Case] = []
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputMismatch(str(file), got=type(error).__name__, promised="a JSONL file") from None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            cases.append(Case(expect="passed", note="#"))
            continue
        try:
            cases.append(msgspec.json.decode(line, type=Case))
        except msgspec.MsgspecError as error:
            raise InputMismatch(
                f"{file}:{number}", got=str(error),
                promised='a case such as {"text": "…", "expect": "refused", "policy": "no_secret"}',
            ) from None  # fmt: skip
    return cases


def judge(settings: Settings, found: Sequence[Found], cases: Sequence[Case]) -> list[Verdict]:
    """What the policies do with each case.

    Raises:
        DeclarationError: A case names an integration or a policy that there is not.
    """
    detectors = detectors_of(settings, wiring.masker_of(settings))
    guards: dict[str, Guard] = {}
    for one in found:
        guard = guard_of(one.declaration, detectors)
        if guard is not None:
            guards[one.declaration.name] = guard

    async def all_of_them() -> list[Verdict]:
        return [
            await _judged(number, case, _guard(guards, case))
            for number, case in enumerate(cases, 1)
            if case.note != "#"
        ]

    return asyncio.run(all_of_them())


def _guard(guards: dict[str, Guard], case: Case) -> Guard:
    named = case.integration or (next(iter(guards)) if len(guards) == 1 else "")
    guard = guards.get(named)
    if guard is None:
        raise DeclarationError(
            case.integration or "policies",
            got="no integration with policies" if not guards else "no integration named",
            promised=f"one of {', '.join(guards) or 'none: declare splice.Policy'}",
            mend='name it in the case: "integration": "…"',
        )
    if case.policy and case.policy not in {one.policy for one in guard.passed}:
        raise DeclarationError(
            case.policy,
            got="no policy of that name",
            promised=f"one of {', '.join(one.policy for one in guard.passed)}",
        )
    return guard


async def _judged(number: int, case: Case, guard: Guard) -> Verdict:
    one = _alone(guard, case.policy) if case.policy else guard
    asking = Asking(one)
    text = case.text * case.times
    became = text
    try:
        if case.tool is not None:
            brought = case.at == "input"
            asking.tools((case.tool,) if brought else (), () if brought else (case.tool,))
        elif await asking.look(case.at, [text]):
            became = asking.redacted(case.at, text)
    except RefusedError:
        pass
    did = _hardest(asking.runs)
    return Verdict(number, case, did[0], did[1], became if did[0] != "refused" else None)


def _alone(guard: Guard, name: str) -> Guard:
    return Guard(
        [one for one in guard.checks if one.pinned.name == name],
        [one for one in guard.tools if one.pinned.name == name],
    )


def _hardest(runs: Sequence[PolicyRun]) -> tuple[PolicyResult, str]:
    for result in _BAD_FIRST:
        for run in runs:
            if run.did == result:
                found = f"{run.policy}: {run.found}" if run.found else run.policy
                return result, "" if result == "passed" else found
    return "passed", ""
