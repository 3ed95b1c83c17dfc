"""Integrations over dataclass and pydantic types, declared in a program of the user's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field

import splice


@dataclass
class Parcel:
    sender: splice.Entity
    kilos: float


@dataclass
class Price:
    euros: float


class ParcelPrice(splice.Integration):
    """Price a parcel."""

    routes = (splice.Rule(lambda context: context["kilos"] * 2),)

    def decide(self, parcel: Parcel, prediction: splice.Prediction) -> Price:
        return Price(prediction.value)


class Ticket(BaseModel):
    customer: splice.Entity
    text: str = Field(min_length=3)


class Queue(BaseModel):
    name: str
    urgent: bool = False


class TicketQueue(splice.Integration):
    """Put a ticket in its queue."""

    risk = splice.Risk.HIGH
    routes = (splice.Rule(lambda context: "angry" in context["text"]),)

    def decide(self, ticket: Ticket, prediction: splice.Prediction) -> Queue:
        return Queue(name="billing", urgent=bool(prediction.value))


class Anything(splice.Request):
    value: Any


class Echo(splice.Reply):
    value: Any


class Echoes(splice.Integration):
    """Give back what came."""

    routes = (splice.Rule(lambda context: 0),)

    def decide(self, request: Anything, prediction: splice.Prediction) -> Echo:
        return Echo(request.value)
