"""The steward's task: looks after rollouts while a process serves."""

from __future__ import annotations

import asyncio
import logging
import uuid
from concurrent.futures import ThreadPoolExecutor

from splice.app.clock import now_us
from splice.app.promoting import promote_challenger
from splice.app.wiring import Services
from splice.control.rollouts import Rollouts, Who
from splice.control.steward import STEWARD, Steward
from splice.core.errors import StoreError
from splice.core.release import Release

log = logging.getLogger("splice.rollouts")

LOOK_SECONDS = 1.0


class StewardTask:
    """Looks at every live release once a second, in a thread of its own."""

    def __init__(self, services: Services) -> None:
        stores = services.stores

        def promote(release: Release) -> str:
            who = Who(STEWARD, "every guard held to the last step", now_us())
            return promote_challenger(services.settings, stores, release, who)

        self._stores = stores
        self._steward = Steward(
            Rollouts(stores.releases, stores.models),
            stores.figures,
            stores.leases,
            uuid.uuid4().hex,
            promote,
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="steward")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look from now on, in the running loop."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Look no more; what was begun ends."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await asyncio.to_thread(self._thread.shutdown)
        try:
            await asyncio.to_thread(self._steward.close)
        except StoreError as error:  # its time ends the lease
            log.warning("leases of rollouts are not given back: %s", error)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await loop.run_in_executor(self._thread, self._look)
            except Exception:  # a rollout that nobody looks after must be told
                log.exception("rollouts are not looked after")

    def _look(self) -> None:
        self._steward.look(self._stores.releases.live(), now_us())
