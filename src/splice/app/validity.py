"""Validity: how validations stand as monitors see it, and what renews them when that is due."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from splice.adapters.child.conduct import command, die_with, leave_signals_to_parent
from splice.app import labelling, rolling
from splice.app.chores import Chore
from splice.app.clock import now_us
from splice.app.gating import validator_of
from splice.app.settings import Settings, load
from splice.app.wiring import Services, Stores
from splice.control.fresh import TooFew
from splice.control.revalidate import REVALIDATOR, Due, Revalidator
from splice.control.validity import Validities, Validity
from splice.core.alerts import Measured, Part
from splice.core.errors import SpliceError
from splice.core.monitors import PinnedMonitor
from splice.core.release import Release
from splice.core.units import plural
from splice.declare.discover import reopen
from splice.declare.reading import Declaration

log = logging.getLogger("splice.validity")

EVERY_S = 60.0
_AGAIN_US = 3600 * 1_000_000
"""How long after it was tried it is tried again: labels come by the day, not by the minute."""
_MOST_S = 1800.0
_DAY_US = 86_400_000_000


def declarations_of(stores: Stores) -> Callable[[str, str], Declaration]:
    """Gives the declaration of a bundle and an entry; each is opened once."""
    known: dict[tuple[str, str], Declaration] = {}

    def opened(bundle: str, entry: str) -> Declaration:
        if (bundle, entry) not in known:
            known[bundle, entry] = reopen(stores.releases.bundle(bundle), entry)
        return known[bundle, entry]

    return opened


def revalidator_of(settings: Settings, stores: Stores) -> Revalidator:
    """What validates again what is live."""
    return Revalidator(
        stores.releases, stores.models, stores.validations, validator_of(settings, stores),
        declarations_of(stores),
    )  # fmt: skip


def standings(
    stores: Stores, release: Release, declaration: Declaration, at_us: int
) -> Iterator[Validity]:
    """How the versions that a release runs stand, each once; those without gates are left out."""
    validities = Validities(stores.validations, stores.audit)
    for route in {one.sha256: one for one in release.manifest.routes if one.sha256}.values():
        found = validities.of(route, release, declaration, at_us)
        if found is not None:
            yield found


def measure_of(stores: Stores) -> Callable[[PinnedMonitor, Release, int], Measured]:
    """Measures monitors of kind `validation`: `left` in days, `failed` in gates."""
    opened = declarations_of(stores)

    def measure(asked: PinnedMonitor, release: Release, at_us: int) -> Measured:
        declaration = opened(release.manifest.bundle, release.manifest.entry)
        found = list(standings(stores, release, declaration, at_us))
        values = {one: _value(asked, one, at_us) for one in found}
        told = {one: value for one, value in values.items() if value is not None}
        worst = min(told.values(), default=None) if asked.figure == "left" else max(
            told.values(), default=None
        )  # fmt: skip
        parts = tuple(
            Part(one.label, value, beyond=asked.beyond(value), words=told_of(one))
            for one, value in told.items()
        )
        return Measured(
            worst, len(told), at_us - round(asked.window_s * 1e6), at_us,
            beyond=worst is not None and asked.beyond(worst), parts=parts, release=release.number,
        )  # fmt: skip

    return measure


def _value(asked: PinnedMonitor, one: Validity, at_us: int) -> float | None:
    if asked.figure == "failed":
        return None if one.latest is None else float(len(one.failed))
    if one.state in ("none", "no consent", "failed"):
        return -1.0
    return (one.until_us - at_us) / _DAY_US if one.until_us else None


def told_of(one: Validity) -> str:
    """How a version stands, in words."""
    if one.why:
        return one.why
    if one.failed and one.latest is not None:
        return f"failed on {one.latest.data}: {', '.join(one.failed)}"
    last = one.latest or one.base
    return "" if last is None else f"validated on {last.data}"


def chores_of_validity(services: Services) -> list[Chore]:
    """The chore that validates again what is due, in a process of its own."""
    settings, stores = services.settings, services.stores
    revalidator = revalidator_of(settings, stores)
    rest: dict[tuple[str, str], int] = {}

    def look(at_us: int) -> bool:
        for due in revalidator.due():
            key = (due.release.integration, due.case.version.label)
            if due.at_us <= at_us and not rest.get(key, 0) > at_us:
                rest[key] = at_us + _AGAIN_US
                _in_a_child(settings, *key)
        return False

    return [Chore("revalidation", EVERY_S, look)]


def _in_a_child(settings: Settings, integration: str, label: str) -> None:
    """Calls go on being answered beside it: gates draw a thousand samples, which takes seconds."""
    arguments = (settings.root, str(os.getpid()), integration, label)
    done = subprocess.run(  # noqa: S603 - our own module
        command("splice.app.validity", *arguments), cwd=settings.root, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=_MOST_S, check=False,
    )  # fmt: skip
    said = (done.stdout or done.stderr).strip().splitlines()
    log.info("%s %s: %s", integration, label, said[-1] if said else f"exit {done.returncode}")


def revalidate(settings: Settings, stores: Stores, due: Due, by: str) -> tuple[str, bool]:
    """Do it now; gives what came of it in a line, and whether the version passed."""
    rolling.catch_up(stores)  # where no server runs, nobody else counts what was recorded
    labelling.catch_up(stores, now_us())
    label, name = due.case.version.label, due.release.integration
    found = revalidator_of(settings, stores).run(due, stores, now_us(), by)
    if isinstance(found, TooFew):
        return f"{label} is not validated again for {name}: {found.told}", False
    failed = [one.gate for one in found.results if not one.passed]
    said = f"failed {', '.join(failed)}" if failed else "passed"
    return f"{label} {said} for {name} on {found.data}, {plural(found.rows, 'row')}", found.passed


def main(root: str, parent: int, integration: str, label: str) -> None:
    """One version, in this process."""
    leave_signals_to_parent()
    die_with(parent)
    os.nice(10)
    settings = load(Path(root))
    stores = Stores(settings)
    try:
        for due in revalidator_of(settings, stores).due():
            if (due.release.integration, due.case.version.label) == (integration, label):
                sys.stdout.write(revalidate(settings, stores, due, REVALIDATOR)[0] + "\n")
    except SpliceError as error:
        sys.stdout.write(f"{error}\n")
    finally:
        stores.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])
