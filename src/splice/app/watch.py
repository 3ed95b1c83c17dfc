"""Watch: what is live changes in the ledger; every worker follows within half a second."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from splice.app.wiring import Services
from splice.core.errors import SpliceError
from splice.core.release import Live
from splice.declare.discover import Found, reopen
from splice.declare.reading import Declaration
from splice.engine import observe
from splice.engine.line import Line

log = logging.getLogger("splice.releases")

POLL_SECONDS = 0.5


class Watcher:
    """Keeps the lines of one engine as the ledger says.

    Args:
        services: The process.
        found: Declarations of the running program, used where a release is of the same sources.
    """

    def __init__(self, services: Services, found: Sequence[Found] = ()) -> None:
        self._services = services
        self._found = {one.bundle.sha256: one for one in found}
        self._seen: dict[str, Live] = {}
        self._withdrawn: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None
        self.broken: dict[str, str] = {}
        self.trouble = ""

    def load(self) -> None:
        """Compile everything that is live. Blocks; called before the first call comes in."""
        live, withdrawn = self._ask()
        self._withdrawn = withdrawn
        self._follow(live)

    def start(self) -> None:
        """Follow from now on, in the running loop."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self.refresh()
                self.trouble = ""
            except SpliceError as error:
                # What is loaded goes on answering: the ledger may be away for a while.
                if not self.trouble:
                    log.warning("cannot see what is live: %s", error)
                self.trouble = str(error)

    async def refresh(self) -> None:
        """Look once, and follow what changed.

        Raises:
            StoreError: The ledger cannot be asked; nothing changed.
        """
        live, withdrawn = await asyncio.to_thread(self._ask)
        if withdrawn != self._withdrawn:
            self._withdrawn = withdrawn
            for line in self._services.engine.lines.values():
                _mark(line, withdrawn)
        # A stop takes hold at once; loading a new release may take a moment, in a thread.
        for one in live:
            line = self._services.engine.lines.get(one.integration)
            if line is not None:
                line.stopped = one.stopped
        if any(self._seen.get(one.integration) != one for one in live):
            await asyncio.to_thread(self._follow, live)

    def _ask(self) -> tuple[list[Live], dict[str, str]]:
        stores = self._services.stores
        return stores.releases.live(), stores.models.withdrawn()

    def _follow(self, live: Sequence[Live]) -> None:
        lines = self._services.engine.lines
        for one in live:
            seen, current = self._seen.get(one.integration), lines.get(one.integration)
            self._seen[one.integration] = one
            if seen is not None and seen.number == one.number and current is not None:
                continue
            try:
                line = self._compile(one)
            except Exception as error:  # noqa: BLE001 - a release may run the user's own code
                self.broken[one.integration] = f"release {one.number}: {error}"
                log.error("%s release %d cannot be loaded: %s", one.integration, one.number, error)
                continue
            line.stopped = one.stopped
            _mark(line, self._withdrawn)
            self.broken.pop(one.integration, None)
            # One assignment: a call holds the line that it began with, the next takes this one.
            lines[one.integration] = line
            metrics = self._services.engine.metrics
            metrics.set(observe.RELEASE, one.number, (one.integration,))
            log.info("%s: release %d answers", one.integration, one.number)

    def _compile(self, live: Live) -> Line:
        releases = self._services.stores.releases
        release = releases.release(live.integration, live.number)
        if release is None:
            raise LookupError(f"the ledger has no release {live.number}")
        manifest = release.manifest
        declaration = self.declaration(manifest.bundle, manifest.entry)
        return self._services.compiler.compile(release, declaration)

    def declaration(self, bundle_sha256: str, entry: str) -> Declaration:
        """The declaration of a bundle: the running program's own where it is the same."""
        found = self._found.get(bundle_sha256)
        if found is not None and found.entry == entry:
            return found.declaration
        return reopen(self._services.stores.releases.bundle(bundle_sha256), entry)

    def line_of(self, integration: str, number: int) -> Line | None:
        """A release compiled beside the live one, for a replay; None where there is none."""
        current = self._services.engine.lines.get(integration)
        if current is not None and current.release.number == number:
            return current
        try:
            return self._compile(Live(integration, number, 0))
        except LookupError:
            return None


def _mark(line: Line, withdrawn: Mapping[str, str]) -> None:
    for step in line.steps:
        why = withdrawn.get(step.route.sha256, "") if step.route.sha256 else ""
        step.withdrawn = f"{step.route.version} is withdrawn: {why}" if why else ""
