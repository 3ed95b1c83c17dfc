"""`splice.Policy`: a named rule about what may go into a model, and what may come out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """A named rule about what may go into a model, and what may come out.

    Exactly one of these says what is looked at:

    `max_chars` is the most that the texts together may have. `languages` are those that they may
    be in (`"en"`, `"de"`). `topics` names topics, each with sentences that are examples of it;
    `allow` or `deny` says which may be spoken of. `no` is what must not be there: `"injection"`
    (words that try to give the model orders), `"links"` (addresses that a reader's program might
    fetch), `"prompt"` (the prompt of the integration told again), or a rule of masking
    (`"secret"`, `"card"`, `"email"`, …). `tools` are the tools that a conversation may have and
    use. `schema` is the type that the answer of a conversation must have. `check` is a function of
    yours: of a text, it gives "" where that is fine, and else what is wrong in a word or two.

    Attributes:
        at: Where it stands: `"input"` (what the caller says), `"context"` (what was looked up or is
            `splice.Untrusted`), `"results"` (what tools gave back), `"output"` (what the model
            says). Left out: input for size, languages and topics; all but the output for
            injection; the output for everything else that must not be there; both ends for a check.
        then: What is done with what is found: `"refuse"` (the call ends), `"flag"` (it goes on, and
            the record says so), `"redact"` (the words are taken out: links, and what masking
            finds), `"review"` (it goes on, and a person must look at it). Left out, it is refused;
            of an injection it is flagged, for words alone prove nothing.
        message: What a caller is told who is refused, in place of our own words.
        allow: Of topics: the only ones that may be spoken of. Of links: hosts that may be named.
        deny: Of topics: those that may not be.
        least: Of topics: how near (cosine, 0 to 1) a text must be to an example to be of its topic.
        by: Of topics: a function of yours that names the topic of a text ("" for none), in place of
            the sentence encoder.
        after_untrusted: Of tools: those that are left once a tool gave something back, or something
            untrusted stands in the conversation; all where left out.
        timeout: How long it may take where it does not answer at once; 2 s where left out.
        name: Its name; made of what it looks at where left out.
    """

    max_chars: int | None = None
    languages: Sequence[str] = ()
    topics: Mapping[str, Sequence[str]] = {}
    no: str = ""
    tools: Sequence[str] | None = None
    schema: Any = None  # any type that msgspec or pydantic can decode
    check: Callable[[str], Any] | None = None  # a text, or an awaitable of one
    at: str | Sequence[str] = ()
    then: str = ""
    message: str = ""
    allow: Sequence[str] = ()
    deny: Sequence[str] = ()
    least: float = 0.5
    by: Callable[[str], Any] | None = None  # a text, or an awaitable of one
    after_untrusted: Sequence[str] | None = None
    timeout: str | float | None = None
    name: str = ""
