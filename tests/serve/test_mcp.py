"""Integrations as MCP tools, asked by the official client in both eras of the protocol."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from mcp.shared.exceptions import MCPError
from mcp_house import House, house

from splice.core.call import Reason, Status
from splice.testing.openai_server import Scripted

pytestmark = pytest.mark.asyncio(loop_scope="module")

ERAS = pytest.mark.parametrize("era", ["auto", "legacy"])
GOOD = {"customer": "c-1", "amount": 5.0}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("mcp")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def key(served: House) -> str:
    return served.key("all")


@ERAS
async def test_every_live_integration_is_a_tool_with_its_purpose_and_its_schemas(
    served: House, key: str, era: str
) -> None:
    async with served.client(key, era) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}

    assert sorted(tools) == ["desk", "faults", "notes", "orders", "waits"]
    orders = tools["orders"]
    assert orders.description == "Find the orders that will not be paid."
    assert orders.input_schema["type"] == "object"
    assert orders.input_schema["required"] == ["customer", "amount"]
    assert orders.output_schema is not None
    assert orders.output_schema["properties"]["action"]["enum"] == ["review", "ship"]
    assert tools["waits"].output_schema is None, "its reply is a number"


@ERAS
async def test_a_tool_call_is_a_recorded_call_of_the_integration(
    served: House, key: str, era: str
) -> None:
    async with served.client(key, era) as client:
        answer = await client.call_tool("orders", GOOD)

    assert not answer.is_error
    assert answer.structured_content == {"risk": 0.1, "action": "ship"}
    assert json.loads(answer.content[0].text) == answer.structured_content
    call_id = answer.meta["splice/call-id"]
    record = next(one for one in await served.calls("orders") if one.call_id == call_id)
    assert (record.surface, record.status) == ("mcp", Status.ANSWERED)
    assert record.caller.startswith("key:")
    assert record.entity == "c-1"
    assert json.loads(record.input) == GOOD


@ERAS
async def test_a_reply_that_is_no_object_comes_as_text(served: House, key: str, era: str) -> None:
    async with served.client(key, era) as client:
        answer = await client.call_tool("waits", {"seconds": 0.0})

    assert (answer.content[0].text, answer.structured_content) == ("0.0", None)


@ERAS
async def test_a_wrong_argument_is_an_error_that_the_agent_can_mend(
    served: House, key: str, era: str
) -> None:
    async with served.client(key, era) as client:
        answer = await client.call_tool("orders", {"customer": "c-1", "amount": "much"})

    assert answer.is_error
    assert "orders.input.amount" in answer.content[0].text
    assert answer.meta["splice/code"] == "input_mismatch"


@ERAS
async def test_a_failed_call_is_an_error_with_the_id_of_its_record(
    served: House, key: str, era: str
) -> None:
    async with served.client(key, era) as client:
        answer = await client.call_tool("faults", {"how": "badly"})

    assert answer.is_error
    assert "ZeroDivisionError" not in answer.content[0].text.partition(":")[0]
    records = {one.call_id: one for one in await served.calls("faults")}
    assert records[answer.meta["splice/call-id"]].status is Status.FAILED


@ERAS
async def test_an_unknown_tool_is_an_error_of_the_protocol(
    served: House, key: str, era: str
) -> None:
    async with served.client(key, era) as client:
        with pytest.raises(MCPError, match="Unknown tool: nobody"):
            await client.call_tool("nobody", {})


@ERAS
async def test_a_key_sees_and_calls_only_the_tools_it_reaches(served: House, era: str) -> None:
    narrow = served.key(f"narrow-{era}", "wait*", "notes")

    async with served.client(narrow, era) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        answer = await client.call_tool("orders", GOOD)

    assert tools == ["notes", "waits"]
    assert answer.is_error
    assert answer.meta["splice/code"] == "not_allowed"


@ERAS
async def test_the_arguments_reach_the_integration_as_they_were_written(
    served: House, key: str, era: str
) -> None:
    details = {"big": 2**53 + 1, "small": 1e-7, "text": "Zürich 🦊", "none": None, "deep": [[{}]]}

    async with served.client(key, era) as client:
        answer = await client.call_tool("notes", {"details": details})

    assert answer.structured_content == {"details": details}


@ERAS
async def test_a_conversation_is_a_tool_that_takes_messages(
    served: House, key: str, era: str
) -> None:
    served.vendor.script(Scripted(text="On Monday."))

    async with served.client(key, era) as client:
        tool = next(t for t in (await client.list_tools()).tools if t.name == "desk")
        messages = [{"role": "user", "content": "When does it come?"}]
        answer = await client.call_tool("desk", {"messages": messages})

    assert tool.input_schema["required"] == ["messages"]
    assert answer.content[0].text == "On Monday."
    choice = answer.structured_content["choices"][0]
    assert choice["message"]["content"] == "On Monday."
    record = (await served.until_recorded("desk", 1))[0]
    assert record.surface == "mcp"
    assert record.cost_nano is not None
    assert record.cost_nano > 0


@ERAS
async def test_a_budget_holds_for_tools_too(served: House, era: str) -> None:
    poor = served.key(f"poor-{era}", budgets=("EUR 0.000000001/day",))
    purse = served.app.engine.purse
    assert purse is not None
    await purse.restore()  # the first call would do it, and wait for it no longer than 5 s

    async with served.client(poor, era) as client:
        messages = [{"role": "user", "content": "When does it come?"}]
        answer = await client.call_tool("desk", {"messages": messages})

    assert answer.is_error
    assert answer.meta["splice/code"] == "over_budget"


async def test_a_cancelled_tool_call_cancels_the_call(served: House, key: str) -> None:
    before = len(await served.calls("waits"))

    async with served.client(key) as client:
        asking = asyncio.create_task(client.call_tool("waits", {"seconds": 50}))
        async with asyncio.timeout(10):
            while served.app.engine.in_flight == 0:
                await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        records = await served.until_recorded("waits", before + 1)

    assert records[0].reason is Reason.CANCELLED
    assert served.app.engine.in_flight == 0


@ERAS
async def test_a_client_that_goes_away_cancels_its_calls(served: House, key: str, era: str) -> None:
    before = len(await served.calls("waits"))

    async with served.client(key, era) as client:
        asking = asyncio.create_task(client.call_tool("waits", {"seconds": 50}))
        async with asyncio.timeout(10):
            while served.app.engine.in_flight == 0:
                await asyncio.sleep(0.01)
    await asyncio.gather(asking, return_exceptions=True)
    records = await served.until_recorded("waits", before + 1)

    assert records[0].reason is Reason.CANCELLED
    assert served.app.engine.in_flight == 0


async def test_a_listener_hears_of_a_new_release(served: House, key: str) -> None:
    lines = served.app.engine.lines
    line = lines.pop("faults")
    try:
        async with served.client(key) as client:
            assert client.server_capabilities.tools.list_changed
            async with client.listen(tools_list_changed=True) as changes:
                lines["faults"] = line
                async with asyncio.timeout(10):
                    change = await anext(aiter(changes))
            names = [tool.name for tool in (await client.list_tools()).tools]
    finally:
        lines["faults"] = line

    assert type(change).__name__ == "ToolsListChanged"
    assert "faults" in names


async def test_a_listener_is_let_go_when_the_server_shuts_down(served: House, key: str) -> None:
    async with (
        served.client(key) as client,
        client.listen(tools_list_changed=True) as changes,
    ):
        served.app.draining = True
        try:
            async with asyncio.timeout(10):
                left = [change async for change in changes]
        finally:
            served.app.draining = False

    assert left == []


@ERAS
async def test_clients_leave_nothing_behind(served: House, key: str, era: str) -> None:
    async def visit() -> None:
        async with served.client(key, era) as client:
            await client.call_tool("orders", GOOD)

    await visit()
    before = len(asyncio.all_tasks())
    for _ in range(2):
        await asyncio.gather(*(visit() for _ in range(8)))

    async with asyncio.timeout(10):
        while len(asyncio.all_tasks()) > before:
            await asyncio.sleep(0.01)


async def test_a_closed_surface_begins_anew_with_the_next_request(served: House, key: str) -> None:
    await served.surface.close()
    await served.surface.close()

    async with served.client(key) as client:
        answer = await client.call_tool("orders", GOOD)

    assert not answer.is_error


async def test_the_trace_of_the_client_goes_on(served: House, key: str) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"

    async with served.client(key, traceparent=f"00-{trace_id}-b7ad6b7169203331-01") as client:
        await client.call_tool("notes", {"details": {}})

    record = (await served.calls("notes"))[0]
    assert record.trace is not None
    assert record.trace.trace_id == trace_id
