"""A small project behind the MCP surface: a real App, a real uvicorn, the official client."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from splice.app.application import App
from splice.control.keys import KeyRequest, Keys
from splice.core.access import Budget, Key
from splice.core.call import Record
from splice.ports.stores import CallFilter
from splice.serve.http.body import BodyReader
from splice.serve.mcp.surface import McpSurface
from splice.testing.openai_server import OpenAIServer

TOML = """
[project]
apply = "new"
[ledger]
flush_interval_ms = 1
[providers.vendor]
base_url = "{base_url}"
[providers.vendor.prices.scripted]
input = 1.0
output = 2.0
"""

INTEGRATIONS = '''
import asyncio
from typing import Any, Literal
import splice
from splice.core.access import Budget, Key


class Order(splice.Request):
    customer: splice.Entity
    amount: float
    items: int = 1


class Screening(splice.Reply):
    risk: float
    action: Literal["ship", "review"]


def scorecard(context):
    return 0.9 if context["amount"] > 500 else 0.1


class Orders(splice.Integration):
    """Find the orders that will not be paid."""

    routes = [splice.Rule(scorecard)]

    def decide(self, order: Order, prediction: splice.Prediction) -> Screening:
        return Screening(prediction.score, "review" if prediction.score > 0.5 else "ship")


class Wait(splice.Request):
    seconds: float


class Waits(splice.Integration):
    """Take as long as the caller says."""

    deadline = "60 s"
    routes = [splice.Rule(lambda context: context["seconds"])]

    async def context(self, wait: Wait, look: splice.Lookup) -> dict:
        await asyncio.sleep(wait.seconds)
        return {"seconds": wait.seconds}

    def decide(self, wait: Wait, prediction: splice.Prediction) -> float:
        return prediction.value


class Note(splice.Request):
    details: dict[str, Any]


class Notes(splice.Integration):
    """Give back what was noted."""

    routes = [splice.Rule(lambda context: 0)]

    def decide(self, note: Note, prediction: splice.Prediction) -> Note:
        return note


class Fault(splice.Request):
    how: str


class Faults(splice.Integration):
    """Fail."""

    routes = [splice.Rule(lambda context: 0)]

    def decide(self, fault: Fault, prediction: splice.Prediction) -> Fault:
        raise ZeroDivisionError


class Desk(splice.Conversation):
    """Answer what customers ask."""

    deadline = "10 s"
    routes = [splice.LLM("vendor/scripted", retries=0)]
'''


class House:
    """The parts of a running project."""

    def __init__(self, app: App, surface: McpSurface, port: int, vendor: OpenAIServer) -> None:
        self.app, self.surface, self.vendor = app, surface, vendor
        self.port = port
        self.url = f"http://127.0.0.1:{port}/mcp"
        self._replace, self._known = app.engine.keyring.replace, 0
        app.engine.keyring.replace = self._newest
        if app.engine.purse is not None:
            self._replace_budgets, self._budgets = app.engine.purse.replace, 0
            app.engine.purse.replace = self._newest_budgets

    def _newest(self, keys: Sequence[Key]) -> None:
        """What the watcher read before a key was made must not take it away again."""
        if len(keys) >= self._known:
            self._known = len(keys)
            self._replace(keys)

    def _newest_budgets(self, budgets: Sequence[Budget]) -> None:
        if len(budgets) >= self._budgets:
            self._budgets = len(budgets)
            self._replace_budgets(budgets)

    def key(self, name: str, *integrations: str, **more: Any) -> str:
        """A key that is known at once."""
        store = self.app.services.stores.keys
        keys = Keys(store, pepper=b"", currency="EUR")
        asked = KeyRequest(name=name, integrations=integrations or ("*",), **more)
        token = keys.create(asked, by="test", now_us=time.time_ns() // 1000).token
        access = store.access()
        self.app.engine.keyring.replace(access.keys)
        if self.app.engine.purse is not None:
            self.app.engine.purse.replace(access.budgets)
        return token

    @contextlib.asynccontextmanager
    async def client(self, key: str = "", mode: str = "auto", **headers: str) -> AsyncIterator[Any]:
        """The official client."""
        if key:
            headers["Authorization"] = f"Bearer {key}"
        async with (
            httpx2.AsyncClient(headers=headers, timeout=30) as http,
            Client(streamable_http_client(self.url, http_client=http), mode=mode) as client,
        ):
            yield client

    async def calls(self, integration: str) -> list[Record]:
        """What the ledger has of an integration, newest first, with all that is in it."""
        await self.app.services.recorder.flush()
        found = self.app.records.find(CallFilter(integration=integration))
        records = [self.app.records.get(one.call_id) for one in found]
        return [one for one in records if one is not None]

    async def until_recorded(self, integration: str, count: int) -> list[Record]:
        """The same, once there are so many."""
        async with asyncio.timeout(10):
            while len(records := await self.calls(integration)) < count:
                await asyncio.sleep(0.01)
        return records


@contextlib.asynccontextmanager
async def house(folder: Path, **surface: Any) -> AsyncIterator[House]:
    """The project, served for as long as the block lasts."""
    with OpenAIServer() as vendor:
        (folder / "splice.toml").write_text(TOML.format(base_url=vendor.base_url), "utf-8")
        (folder / "integrations.py").write_text(INTEGRATIONS, "utf-8")
        app = App(project=folder)
        async with app:
            mcp = McpSurface(app, BodyReader(2.0), 64 * 1024, **surface)
            listener = socket.socket()
            listener.bind(("127.0.0.1", 0))
            config = uvicorn.Config(mcp, lifespan="off", log_level="warning", ws="none")
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            while not server.started:
                await asyncio.sleep(0.01)
            try:
                yield House(app, mcp, listener.getsockname()[1], vendor)
            finally:
                await mcp.close()
                server.should_exit = True
                await serving
                listener.close()
