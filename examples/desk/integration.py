"""The support desk's assistant: OpenAI and Anthropic clients call it as a model."""

from __future__ import annotations

import splice


class DeskAssistant(splice.Conversation):
    """Draft an answer for the support desk, for a person to send."""

    objective = splice.Objective(
        kpi="handling_time", unit="minutes a ticket", baseline=11.0, target=8.0, due="2027-12-31"
    )
    risk = splice.Risk.LIMITED
    deadline = "60 s"
    aliases = ("desk-fast",)
    # In order of trust. A vendor's model would stand first: splice.LLM("openai/gpt-5-mini").
    routes = (splice.LLM("assistant/small", params={"temperature": 0, "max_tokens": 40}),)
    cache = splice.Cache(exact="1 h")
    budget = splice.Spend("EUR 20", per="month")
    log = splice.Log(mask=("email", "phone", "iban"))
