"""What a process that serves does beside the calls: it looks after rollouts, and does chores."""

from __future__ import annotations

from splice.app.chore_list import chores_of
from splice.app.chores import Chores
from splice.app.steward import StewardTask
from splice.app.wiring import Services


class Background:
    """The steward and the chores of one process."""

    def __init__(self, services: Services) -> None:
        self._steward = StewardTask(services)
        self.chores = Chores(services.stores.leases, chores_of(services))

    def start(self) -> None:
        """Begin, in the running loop."""
        self._steward.start()
        self.chores.start()

    async def stop(self) -> None:
        """End; what was begun is finished."""
        await self.chores.stop()
        await self._steward.stop()
