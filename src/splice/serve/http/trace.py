"""W3C trace context: the caller's `traceparent` becomes ours."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from splice.core.call import Trace

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")


def trace_of(headers: Mapping[bytes, bytes]) -> Trace | None:
    """The trace that a request belongs to, with a fresh span for it; None where it is not valid."""
    match = _TRACEPARENT.fullmatch(headers.get(b"traceparent", b"").decode("latin-1").strip())
    if match is None or match[1] == "0" * 32 or match[2] == "0" * 16:
        return None
    return Trace(
        trace_id=match[1], span_id=os.urandom(8).hex(), parent_id=match[2], flags=int(match[3], 16)
    )
