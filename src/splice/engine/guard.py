"""Guard: the policies of a release at their stations; what cannot be asked lets nothing pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from splice.core.errors import RefusedError, SpliceError
from splice.core.policies import RESULTS, PinnedPolicy, PolicyResult, PolicyRun, Station
from splice.core.policy_errors import PolicyRefused, PolicyUnavailable
from splice.engine.faults import faults
from splice.engine.guard_asking import Patience
from splice.engine.guard_tools import Tools
from splice.ports.policies import Detector, Found

T = TypeVar("T")

_PLACES: dict[str, str] = {
    "input": "the request",
    "context": "what was gathered for the call",
    "results": "what a tool gave back",
    "output": "the answer",
}


_BITS: dict[str, int] = {"input": 1, "context": 2, "results": 4, "output": 8}
_EVERYWHERE = sum(_BITS.values())


class Check:
    """One policy, ready to be asked.

    Args:
        integration: Whose it is.
        pinned: What it is.
        detector: What is asked.
    """

    __slots__ = ("detector", "immediate", "passed", "patience", "pinned", "where")

    def __init__(self, integration: str, pinned: PinnedPolicy, detector: Detector) -> None:
        self.where = f"{integration}.policies.{pinned.name}"
        self.pinned = pinned
        self.detector = detector
        self.immediate = detector.immediate
        self.patience = Patience(detector, pinned.timeout_s)
        self.passed = PolicyRun(pinned.name, pinned.version)

    def run(self, did: PolicyResult, at: str, found: str, count: int = 1) -> PolicyRun:
        """What is recorded of it."""
        return PolicyRun(self.pinned.name, self.pinned.version, did, at, found[:60], count)

    def refusal(self, at: Station, found: Found) -> PolicyRefused:
        """What the caller is told."""
        pinned = self.pinned
        return PolicyRefused(
            self.where,
            got=f"{found.what} in {_PLACES[at]}",
            promised=promised(pinned),
            mend=pinned.message,
        )

    def down(self, error: BaseException) -> PolicyUnavailable:
        """The same where it could not be asked; what it raised goes to the log only."""
        if not isinstance(error, (SpliceError, TimeoutError)):
            faults.told(self.where, error)
        got = "no word in time" if isinstance(error, TimeoutError) else "an engine that fails"
        return PolicyUnavailable(
            self.where,
            got=f"{got}, of a policy that every call must pass",
            promised="its word",
            mend="try again; the log of the server tells what is wrong",
        )


def promised(pinned: PinnedPolicy) -> str:
    """What a policy expects, in words."""
    rule = pinned.rule
    if pinned.kind == "size":
        return f"at most {rule['max_chars']:,} characters"
    if pinned.kind == "languages":
        return f"a text in {' or '.join(rule['languages'])}"
    if pinned.kind == "topics":
        if "allow" in rule:
            return f"one of the topics {', '.join(rule['allow'])}"
        return f"none of the topics {', '.join(rule['deny'])}"
    if pinned.kind == "no":
        return f"no {rule['no']}"
    if pinned.kind == "tools":
        return f"only the tools {', '.join(rule['tools']) or '(none)'}"
    return "an answer of the declared type" if pinned.kind == "schema" else "what it asks for"


class Guard:
    """All policies of a release.

    Args:
        checks: Those that look at texts, in the order of their declaration.
        tools: Those that look at tools.
    """

    def __init__(self, checks: Sequence[Check], tools: Sequence[Tools] = ()) -> None:
        self.checks = tuple(checks)
        self.tools = tuple(tools)
        self._at = {
            at: tuple(one for one in checks if at in one.pinned.at)
            for at in ("input", "context", "results", "output")
        }
        every = (*checks, *tools)
        self.passed = tuple(one.passed for one in every)
        self._bits = tuple(sum(_BITS[at] for at in one.pinned.at) for one in every)
        self.immediate = all(one.immediate for one in checks)
        """Whether all of them answer within microseconds, without waiting for anybody."""
        self.streams = not any(
            not one.immediate or one.pinned.kind == "schema" or one.pinned.then == "redact"
            for one in self._at["output"]
        )
        """Whether an answer may be looked at, and go out, while it comes."""

    def at(self, station: Station) -> tuple[Check, ...]:
        """Those that stand there."""
        return self._at[station]

    def runs(
        self, found: dict[str, PolicyRun], visited: int, stopped: str
    ) -> tuple[PolicyRun, ...]:
        """What a record says: of those that were asked, up to the one that ended the call."""
        runs: list[PolicyRun] = []
        for one, bits in zip(self.passed, self._bits, strict=True):
            if one.policy in found:
                runs.append(found[one.policy])
            elif bits & visited and not stopped:
                runs.append(one)
        return tuple(runs)


class Asking:
    """The policies of one call: what they have found so far.

    Args:
        guard: The policies.
    """

    __slots__ = ("_found", "_stopped", "_visited", "guard", "untrusted")

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self._found: dict[str, PolicyRun] = {}
        self._stopped = ""
        self._visited = 0
        self.untrusted = False  # whether something from outside came into the call

    @property
    def runs(self) -> tuple[PolicyRun, ...]:
        """What the record says of them."""
        if not self._found and self._visited == _EVERYWHERE:
            return self.guard.passed
        return self.guard.runs(self._found, self._visited, self._stopped)

    async def look(self, at: Station, texts: Sequence[str]) -> bool:
        """Asks every policy that stands there; whether one of them wants something taken out.

        Raises:
            PolicyRefused: One of them says no.
            PolicyUnavailable: One of them cannot be asked.
        """
        checks = self.guard.at(at)
        self._visited |= _BITS[at]
        if not checks or not texts:
            return False
        text = texts[0] if len(texts) == 1 else "\n".join(texts)
        redacts = False
        for check in checks:
            if check.immediate:
                redacts = self.ask(check, at, text) or redacts
                continue
            try:
                found = await check.patience.find(text)
            except Exception as error:
                raise self._down(check, at, error) from error
            redacts = (found is not None and self._judge(check, at, found)) or redacts
        return redacts

    def visit(self, at: Station) -> None:
        """Somebody asks the policies that stand there one by one."""
        self._visited |= _BITS[at]

    def ask(self, check: Check, at: Station, text: str) -> bool:
        """Asks one that answers at once; as `look`."""
        try:
            found = check.detector.find(text)
        except Exception as error:
            raise self._down(check, at, error) from error
        return found is not None and self._judge(check, at, found)

    @property
    def redacts(self) -> bool:
        """Whether a policy has found something that it takes out."""
        return any(run.did == "redacted" for run in self._found.values())

    def said(self, check: Check) -> bool:
        """Whether it has found something already."""
        return check.pinned.name in self._found

    def _down(self, check: Check, at: Station, error: BaseException) -> PolicyUnavailable:
        down = check.down(error)
        self._found[check.pinned.name] = check.run("unavailable", at, "", 0)
        self._stopped = check.pinned.name
        return down

    def _judge(self, check: Check, at: Station, found: Found) -> bool:
        pinned = check.pinned
        did = RESULTS[pinned.then]
        before = self._found.get(pinned.name)
        if before is None:
            self._found[pinned.name] = check.run(did, at, found.what, found.count)
        elif did != "refused":
            count = before.count + found.count
            self._found[pinned.name] = check.run(did, before.at, before.found, count)
        if did == "refused":
            self._found[pinned.name] = check.run(did, at, found.what, found.count)
            self._stopped = pinned.name
            raise check.refusal(at, found)
        return did == "redacted"

    def redacted(self, at: Station, text: str) -> str:
        """A text with everything taken out that policies which stand there take out.

        Raises:
            PolicyUnavailable: It could not be done.
        """
        for check in self.guard.at(at):
            if check.pinned.then == "redact":
                try:
                    text = check.detector.redact(text)
                except Exception as error:
                    raise self._down(check, at, error) from error
        return text

    def surely(self, at: Station, change: Callable[[], T]) -> T:
        """What a change of texts gives.

        Raises:
            PolicyUnavailable: It broke: then what was to be taken out is still in there.
        """
        try:
            return change()
        except RefusedError:
            raise
        except Exception as error:
            check = next(one for one in self.guard.at(at) or self.guard.checks)
            raise self._down(check, at, error) from error

    def tools(self, declared: Sequence[str], used: Sequence[str]) -> None:
        """Asks about tools: those that a request brings, and those that a model calls.

        Raises:
            PolicyRefused: One of them is not allowed.
        """
        self._visited |= _BITS["output" if used else "input"]
        for one in self.guard.tools:
            stray = one.stray(declared, used, untrusted=self.untrusted)
            if not stray:
                continue
            at: Station = "output" if used else "input"
            did = RESULTS[one.pinned.then]
            self._found[one.pinned.name] = PolicyRun(
                one.pinned.name, one.pinned.version, did, at, "tool", len(stray)
            )
            if did == "refused":
                self._stopped = one.pinned.name
                raise PolicyRefused(
                    f"{one.integration}.policies.{one.pinned.name}",
                    got=f"the tool {stray[0][:64]} in {_PLACES[at]}",
                    promised=promised(one.pinned),
                    mend=one.pinned.message,
                )

    def withheld(self, name: str, version: str, count: int) -> None:
        """Some tools were kept from the model, now that something untrusted came in."""
        self._found[name] = PolicyRun(name, version, "redacted", "input", "tools withheld", count)
