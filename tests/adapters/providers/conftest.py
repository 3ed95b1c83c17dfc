"""Tests of connections run in both event loops: their transports differ where connections end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

_BOTH = frozenset({"test_http_streams", "test_openai_rough"})
LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, LoopFactory]:
    both: dict[str, LoopFactory] = {
        "asyncio": asyncio.new_event_loop,
        "uvloop": uvloop.new_event_loop,
    }
    return both if item.path.stem in _BOTH else {"asyncio": asyncio.new_event_loop}
