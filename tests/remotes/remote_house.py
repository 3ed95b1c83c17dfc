"""What the tests of remote models share: rows, their answers, a port where nobody listens."""

from __future__ import annotations

import socket
from typing import Any

ADDER_ROWS: list[dict[str, Any]] = [
    {"a": 1.0, "b": 2.0, "more": "x"}, {"a": 0, "b": -4.5},
    {"a": 10.25, "b": 0.25}, {"a": 7, "b": 1},
]  # fmt: skip
ADDED = [3.0, -4.5, 10.5, 8.0]

# By the weights of scripts/peers.d/mlserver/order_risk.py: the same actions in both versions.
ORDER_ROWS: list[dict[str, Any]] = [
    {"amount_eur": 900.0, "items": 9, "country": "ZZ"},
    {"amount_eur": 10, "items": 1, "country": "DE"},
    {"amount_eur": 800.5, "items": 2, "country": "FR"},
]
ORDER_VALUES = ["review", "ship", "review"]


def free_port() -> int:
    """A port of the loopback interface where nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
