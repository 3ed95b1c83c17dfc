"""The integrations as tools of an MCP server: list, call, and tell of changes.

Imported only where the `mcp` extra is installed and somebody asks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import mcp_types as types
import msgspec
from mcp.server import Server
from mcp.server.context import ServerRequestContext
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    ServerEvent,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPError

from splice.core.call import Call, Record
from splice.core.errors import MalformedBody, SpliceError
from splice.engine.faults import faults
from splice.engine.keyring import may_call
from splice.engine.line import Line
from splice.serve.mcp.asking import STATE, Asking
from splice.serve.mcp.cards import Card, body_of, card_of
from splice.serve.wire import GatewayDesk

SURFACE = "mcp"
_LOOK_SECONDS = 0.25
"""How often releases are compared while somebody wants to know of changes."""


_Context = ServerRequestContext[Any, Any]


class Tools:
    """The tools of one process.

    Args:
        desk: The process behind it.
        version: Version of the product, told to clients.
    """

    def __init__(self, desk: GatewayDesk, version: str) -> None:
        self._desk = desk
        self._cards: dict[str, tuple[int, Card]] = {}  # by name, with the number of the release
        self._listen = ListenHandler(_Releases(desk, self._close))
        self.server: Server[Any] = Server(
            "splice",
            version=version,
            instructions="Each tool is one AI integration: typed, governed and recorded.",
            on_list_tools=self._list,
            on_call_tool=self._call,
            on_subscriptions_listen=self._listen,
            # Ours declare no headers; without this every call would list all tools to find out.
            get_tool_input_schema=lambda _: None,
        )
        self.server.middleware.clear()  # calls are traced by the engine

    def manager(self) -> StreamableHTTPSessionManager:
        """Serves them over streamable HTTP, without sessions: any worker answers any request."""
        return StreamableHTTPSessionManager(self.server, stateless=True)

    def _close(self) -> None:
        self._listen.close()

    def _card(self, line: Line) -> Card:
        number, known = line.release.number, self._cards.get(line.name)
        if known is None or known[0] != number:
            known = self._cards[line.name] = (number, card_of(line.release.manifest))
        return known[1]

    async def _list(
        self, context: _Context, _: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        key = _asking(context).principal.key
        lines = sorted(self._desk.engine.lines.values(), key=lambda line: line.name)
        cards = [self._card(line) for line in lines if key is None or key.may_call(line.name)]
        return types.ListToolsResult(
            tools=[
                types.Tool(
                    name=card.name,
                    description=card.purpose,
                    input_schema=card.input,
                    output_schema=card.output,
                )
                for card in cards
            ]
        )

    async def _call(
        self, context: _Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        asking, engine = _asking(context), self._desk.engine
        line = engine.lines.get(params.name)
        if line is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name[:80]}")
        try:
            may_call(asking.principal, line.name)
            call = self._made(asking, line, params)
            answered = await engine.answer(call, line)
        except SpliceError as error:
            return _failed(error, "")
        except Exception as error:  # noqa: BLE001 - the call ends here, and its caller is told
            faults.told(f"a call of {line.name}", error)
            return _failed(SpliceError(line.name, got="an error that nobody foresaw"), "")
        if answered.error is not None:
            return _failed(answered.error, answered.record.call_id)
        return _replied(self._card(line), line, answered.record)

    def _made(self, asking: Asking, line: Line, params: types.CallToolRequestParams) -> Call:
        """The call that a tool call is.

        Raises:
            MalformedBody: Its arguments cannot be read.
        """
        if asking.arguments is None and params.arguments:
            raise MalformedBody(
                f"{line.name}.arguments",
                got="JSON that readers take differently, such as NaN",
                promised="strict JSON (RFC 8259)",
            )
        body = body_of(self._card(line), asking.arguments or b"{}")
        return Call(
            self._desk.new_id(),
            line.name,
            body,
            time.time_ns() // 1000,
            SURFACE,
            asking.principal.caller,
            None,
            asking.trace,
            asking.principal,
        )


def _asking(context: _Context) -> Asking:
    request: Any = context.request  # Starlette's, from the transport
    return request.scope[STATE]


def _replied(card: Card, line: Line, record: Record) -> types.CallToolResult:
    reply = record.reply or b"null"
    value: Any = msgspec.json.decode(reply)
    text = _said(value) if line.declaration.options.conversation else None
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=text or reply.decode())],
        structured_content=value if card.output is not None else None,
        _meta={"splice/call-id": record.call_id, "splice/route": record.route},
    )


def _said(completion: Any) -> str | None:
    """The plain text of a chat completion of one answer; None where it is more than that."""
    try:
        (choice,) = completion["choices"]
        message = choice["message"]
        return None if message.get("tool_calls") else message["content"]
    except (KeyError, TypeError, ValueError):
        return None


def _failed(error: SpliceError, call_id: str) -> types.CallToolResult:
    """An error that the agent reads, and may mend by himself."""
    meta: dict[str, Any] = {"splice/code": error.code, "splice/retryable": error.retryable}
    if call_id:
        meta["splice/call-id"] = call_id
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=str(error))], is_error=True, _meta=meta
    )


class _Releases(InMemorySubscriptionBus):
    """Tells of changes of what is live, and looks for them only while somebody listens."""

    def __init__(self, desk: GatewayDesk, close: Callable[[], None]) -> None:
        super().__init__()
        self._desk = desk
        self._close = close
        self._count = 0
        self._looking: asyncio.Task[None] | None = None

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """One more who wants to know."""
        unsubscribe = super().subscribe(listener)
        self._count += 1
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look(self._live()))
        gone = False

        def leave() -> None:
            nonlocal gone
            if not gone:
                gone = True
                self._count -= 1
                unsubscribe()

        return leave

    def _live(self) -> dict[str, int]:
        # A copy first: a thread may add a line meanwhile.
        return {name: line.release.number for name, line in dict(self._desk.engine.lines).items()}

    async def _look(self, before: dict[str, int]) -> None:
        while self._count and not self._desk.draining:
            await asyncio.sleep(_LOOK_SECONDS)
            now = self._live()
            if now != before:
                before = now
                await self.publish(ToolsListChanged())
        if self._count:
            self._close()  # a stream that nobody ends would keep the server from stopping
