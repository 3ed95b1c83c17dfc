"""What the surface hands to the tools with each request, through the scope of ASGI."""

from __future__ import annotations

import msgspec

from splice.core.access import Principal
from splice.core.call import Trace

STATE = "splice.mcp"
"""Where `Asking` travels in the scope."""


class Asking(msgspec.Struct, frozen=True):
    """Who asks, and the arguments of a tool call as they were written.

    `arguments` is None where they are not JSON that every reader reads the same way.
    """

    principal: Principal
    arguments: bytes | None
    trace: Trace | None
