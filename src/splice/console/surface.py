"""Everything under `/console`: the pages, or what to install to have them."""

from __future__ import annotations

import asyncio
import html
from typing import Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from splice.console.desk import ROOT, ConsoleDesk, Options

_EXTRA = "splice-ai[console]"
_MISSING = """<!doctype html>
<html lang="en"><title>Splice console</title>
<h1>The console is not installed</h1>
<p>This server has no module <code>{module}</code>. Install the extra, and start it again:</p>
<pre>pip install '{extra}'</pre>
"""


class Opened(Protocol):
    """What answers, once it is loaded."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class _Missing:
    """Says what to install."""

    def __init__(self, module: str) -> None:
        text = _MISSING.format(module=html.escape(module), extra=_EXTRA)
        self._answer = Response(text, 501, {"cache-control": "no-store"}, media_type="text/html")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._answer(scope, receive, send)

    def close(self) -> None:
        """Nothing is held."""


class Console:
    """An ASGI application; what draws the pages is loaded by the first visit.

    Args:
        desk: The process whose calls are shown.
        options: How it is served.
    """

    def __init__(self, desk: ConsoleDesk, options: Options) -> None:
        self._desk = desk
        self._options = options
        self._site: Opened | None = None
        self._opening = asyncio.Lock()

    @staticmethod
    def answers(path: str) -> bool:
        """Whether a path is one of the console's."""
        return path == ROOT or path.startswith(f"{ROOT}/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        site = self._site
        if site is None:
            async with self._opening:
                if self._site is None:
                    self._site = await asyncio.to_thread(self._open)
                site = self._site
        await site(scope, receive, send)

    def close(self) -> None:
        """Let go of the threads that make pages; the next visit starts them anew."""
        site, self._site = self._site, None
        if site is not None:
            site.close()

    def _open(self) -> Opened:
        try:
            # Here, for the extra is optional, and takes a tenth of a second to import.
            from splice.console.site import Site
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] == "splice":
                raise
            return _Missing(error.name or "?")
        return Site(self._desk, self._options)
