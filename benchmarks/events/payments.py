"""What comes in and what goes out, as the peers declare it: a payment, and what to do with it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

FEATURES = 30
Action = Literal["approve", "review", "block"]


class Merchant(msgspec.Struct):
    """Who is paid."""

    id: str
    name: str
    category: str
    city: str


class Device(msgspec.Struct):
    """What it was paid with."""

    agent: str
    address: str
    session: str


class Payment(msgspec.Struct):
    """One event."""

    id: str
    at: str
    card: str
    amount_eur: Annotated[float, msgspec.Meta(gt=0)]
    currency: Literal["EUR", "CHF"]
    country: Annotated[str, msgspec.Meta(min_length=2, max_length=2)]
    merchant: Merchant
    device: Device
    note: str
    features: Annotated[list[float], msgspec.Meta(min_length=FEATURES, max_length=FEATURES)]


class Screening(msgspec.Struct):
    """One decision."""

    id: str
    probability: float
    action: Action


decode = msgspec.json.Decoder(Payment).decode
encode = msgspec.json.Encoder().encode


def action_of(probability: float) -> Action:
    """What to do at so high a probability of fraud."""
    return "block" if probability > 0.9 else "review" if probability > 0.6 else "approve"
