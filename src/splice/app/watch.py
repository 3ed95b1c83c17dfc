"""Watch: what is live changes in the ledger; every worker follows within a second."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from splice.app.clock import Onward
from splice.app.permitting import Permitting
from splice.app.wiring import Services
from splice.core.errors import StoreError
from splice.core.release import Live
from splice.declare.discover import Found, reopen
from splice.declare.reading import Declaration
from splice.engine import observe
from splice.engine.line import Line
from splice.ports.keys import Access

log = logging.getLogger("splice.releases")

POLL_SECONDS = 0.25
_AGAIN_SECONDS = 5.0
"""How often a route whose model was not there is tried again: the file may be back."""


class Watcher:
    """Keeps the lines of one engine as the ledger says.

    Args:
        services: The process.
        found: Declarations of the running program, used where a release is of the same sources.
    """

    def __init__(self, services: Services, found: Sequence[Found] = ()) -> None:
        self._services = services
        self._found = {one.bundle.sha256: one for one in found}
        self._live: dict[str, Live] = {}
        self._loaded: dict[str, int] = {}  # release that was last tried, whether it loads or not
        self._withdrawn: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None
        self._loading: asyncio.Future[None] | None = None
        # Threads of its own: a stop must be seen while the shared ones wait for a locked ledger.
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="watch")
        self._tried_again = time.monotonic()
        self._permitting = Permitting(services.permits, Onward().now_us)
        self.broken = services.engine.broken
        self.trouble = ""

    def load(self) -> None:
        """Compile everything that is live. Blocks; called before the first call comes in."""
        self._take(*self._ask())
        self._follow(self._behind())

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
        if self._loading is not None:
            await asyncio.gather(self._loading, return_exceptions=True)
        self._asking.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            for line in list(self._services.engine.lines.values()):
                self._mark(line)  # what has expired is seen also while the ledger is away
            try:
                await self._look()
                self.trouble = ""
            except Exception as error:  # noqa: BLE001 - without a watcher no stop is ever seen
                # What is loaded goes on answering: the ledger may be away for a while.
                if not self.trouble:
                    log.warning("cannot see what is live: %s", error)
                self.trouble = str(error) or type(error).__name__

    async def _look(self) -> None:
        """A stop takes hold at once; a new release as soon as a thread has loaded it."""
        loop = asyncio.get_running_loop()
        self._take(*await loop.run_in_executor(self._asking, self._ask))
        if self._loading is None or self._loading.done():
            behind = self._behind()
            due = self._permitting.due(list(self._services.engine.lines.values()))
            if behind or due:
                self._loading = loop.run_in_executor(None, self._catch_up, behind, due)

    def _ask(self) -> tuple[list[Live], dict[str, str], Access]:
        stores = self._services.stores
        stores.encryption.forget()
        return stores.releases.live(), stores.models.withdrawn(), stores.keys.access()

    def _take(self, live: Sequence[Live], withdrawn: dict[str, str], access: Access) -> None:
        self._withdrawn = withdrawn
        engine = self._services.engine
        engine.keyring.replace(access.keys)
        if engine.purse is not None:
            engine.purse.replace(access.budgets)
        self._live = {one.integration: one for one in live}
        for line in list(self._services.engine.lines.values()):
            self._mark(line)

    def _mark(self, line: Line) -> None:
        live = self._live.get(line.name)
        line.stopped = "" if live is None else live.stopped
        barred = self._permitting.barred(line)
        for step in line.every_step:
            why = self._withdrawn.get(step.route.sha256, "") if step.route.sha256 else ""
            withdrawn = f"{step.route.version} is withdrawn: {why}" if why else ""
            step.withdrawn = withdrawn or barred.get(id(step), "")

    def _behind(self) -> list[Live]:
        now = time.monotonic()
        again = now - self._tried_again > _AGAIN_SECONDS
        if again:
            self._tried_again = now
        lines = self._services.engine.lines
        return [
            one
            for one in self._live.values()
            if self._loaded.get(one.integration) != one.number
            or (again and one.integration in lines and _lacks_a_model(lines[one.integration]))
        ]

    def _catch_up(self, behind: Sequence[Live], due: Sequence[Line]) -> None:
        self._follow(behind)
        self._permitting.ask_again(due)

    def _follow(self, behind: Sequence[Live]) -> None:
        lines = self._services.engine.lines
        for one in behind:
            try:
                line = self._compile(one)
                self._permitting.ask(line)
                self._services.stores.encryption.know(line.release)
            except Exception as error:  # noqa: BLE001 - a release may run the user's own code
                if not isinstance(error, StoreError):  # a ledger may be back at the next look
                    self._loaded[one.integration] = one.number
                why = f"release {one.number}: {error}"
                if self.broken.get(one.integration) != why:
                    log.error("%s cannot be loaded: %s", one.integration, why)
                self.broken[one.integration] = why
                continue
            is_new = self._loaded.get(one.integration) != one.number
            self._loaded[one.integration] = one.number
            self.broken.pop(one.integration, None)
            self._mark(line)
            # One assignment: a call holds the line that it began with, the next takes this one.
            lines[one.integration] = line
            self._mark(line)  # again: a stop that was seen meanwhile marked the line before
            metrics = self._services.engine.metrics
            metrics.set(observe.RELEASE, one.number, (one.integration,))
            if is_new:
                log.info("%s: release %d answers", one.integration, one.number)

    def _compile(self, live: Live) -> Line:
        releases = self._services.stores.releases
        release = releases.release(live.integration, live.number)
        if release is None:
            raise LookupError(f"the ledger has no release {live.number}")
        if self._services.permits is not None:
            self._services.permits.admitted(release)  # before any of its code is loaded
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


def _lacks_a_model(line: Line) -> bool:
    return any(step.unavailable and step.route.sha256 for step in line.every_step)
