"""What every subject is asked: one chat of a shop's customer, whole or streamed."""

from __future__ import annotations

import json

SYSTEM = (
    "You are the assistant of a furniture shop. Answer kindly, in at most four sentences, and say "
    "the day of delivery where you know it."
)
QUESTION = (
    "Where is my parcel? I ordered the walnut desk on the third of this month, number 48-1177, and "
    "the page still says that it is being packed. I need it before the weekend, as we move on "
    "Saturday and the movers take only what is there. Please tell me when it comes and whether I "
    "must do anything."
)


def request_body(model: str, *, stream: bool) -> bytes:
    """The body of a chat completion request, about 600 bytes.

    A streamed one asks for the count of tokens at its end: without it, whoever counts the cost must
    guess, or tokenise the text himself.
    """
    body: dict[str, object] = {
        "model": model,
        "messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": QUESTION},
        ],
        "max_tokens": 200,
        "temperature": 0.2,
    }
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(body, separators=(",", ":")).encode()
