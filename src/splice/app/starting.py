"""Starting: which declarations are there, and which of them become releases by themselves."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from typing import Literal

from splice.app import wiring
from splice.app.clock import now_us
from splice.app.settings import Settings, user_name
from splice.control.apply import Control
from splice.core.errors import DeclarationError, NotPromoted, SettingsError
from splice.core.release import Live
from splice.declare.discover import Found, find, find_live
from splice.declare.spec import Integration

log = logging.getLogger("splice")

Apply = Literal["first", "new", "never"]


def declared(
    settings: Settings, classes: Sequence[type[Integration]], apply: Apply
) -> tuple[Sequence[Found], Sequence[DeclarationError]]:
    """The declarations of the running program or of the project, and what is wrong with them."""
    if classes:
        return [find_live(cls) for cls in classes], []
    if apply == "never":
        with contextlib.suppress(SettingsError):  # a project may be all in its ledger
            wiring.modules_of(settings)
        return [], []
    root, modules = wiring.modules_of(settings)
    return find(root, modules)


def tolerate(mistakes: Sequence[DeclarationError], live: Sequence[Live]) -> None:
    """A slip on the disk must not take down what answers: with live releases it is only told.

    Raises:
        DeclarationError: The first mistake, where nothing is live yet.
    """
    if mistakes and not live:
        raise mistakes[0]
    for mistake in mistakes:
        log.error("not applied: %s", mistake)


def apply_found(control: Control, found: Sequence[Found], apply: Apply) -> list[str]:
    """Makes releases of what the setting says; returns a line for each.

    Raises:
        DeclarationError: A declaration names what is not there, and is not live yet.
        NotPromoted: A version did not pass its gates, and nothing is live yet.
    """
    applied: list[str] = []
    for one in found:
        name = one.declaration.name
        live = control.live_release(name)
        if apply == "never" or (live is not None and apply == "first"):
            continue
        try:
            plan = control.plan(one, now_us=now_us())
        except DeclarationError as error:
            if live is None:
                raise
            log.error("not applied: %s", error)
            continue
        if not plan.is_new or control.known(plan.manifest) is not None:
            continue
        try:
            release = control.apply(plan, by=user_name(), why="applied at start", now_us=now_us())
        except NotPromoted as error:
            if live is None:
                raise
            log.error("not applied: %s", error)
            continue
        applied.append(f"{name}: release {release.number}")
        log.info("%s: release %d applied at start", name, release.number)
    return applied
