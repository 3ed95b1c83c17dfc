"""Asking: what a text wants to know, by the words it begins with."""

from __future__ import annotations

import re

_GREETING = re.compile(
    r"^(?:(?:hi|hello|hey|dear|hallo|guten tag|good morning|support|team|there|please|bitte) )+"
)
_PREFACES = re.compile(
    r"^(?:(?:can|could|would|will) you (?:please )?(?:tell me|explain(?: to me)?|let me know)"
    r"|(?:please )?(?:tell me|explain(?: to me)?|let me know)"
    r"|i (?:want|need|would like|would love) to know|i (?:wonder|am wondering)|do you know"
    r"|may i ask|können you mir (?:bitte )?~?(?:sagen|erklären)"
    r"|(?:ich )?(?:möchte|will|würde gerne?) (?:ich )?(?:gerne? )?~?wissen|~?wissen you) "
    r"(?=how|what|when|where|why|who|which|if|whether|wie|was|wann|wo|warum|wer|welch|ob)"
)

_I = (1,)
_RULES: dict[str, tuple[tuple[re.Pattern[str], str, str, tuple[int, ...]], ...]] = {
    # What begins a text, what it asks, what remains of it, and who is meant though not named.
    "en": tuple(
        (re.compile(pattern), asks, rest, implied)
        for pattern, asks, rest, implied in (
            (r"^how (?:much|expensive) (?:is|are) (?=.* cost)", "how much", "", ()),
            (r"^how expensive (?:is|are) (.*)", "how much", r"\1 cost", ()),
            (r"^what (?:is|are) the (?:price|cost)s? (?:of|for) (.*)", "how much", r"\1 cost", ()),
            (r"^what (?:do|does|would|will) (?=.* cost\b)", "how much", "", ()),
            (r"^how (?:much|many) ", "how much", "", ()),
            (r"^how (long|often|far|old|soon|fast|quickly|big|early|late) ", r"how \1", "", ()),
            (r"^how high (?:is|are) ", "what", "", ()),
            (r"^how come ", "why", "", ()),
            (r"^how to ", "how", "", _I),
            (r"^how (?:do|can|could|would) ", "how", "", ()),
            (r"^how ", "how", "", ()),
            (
                r"^what (?:is|are) the (?:right )?(?:way|procedure|process|steps?) (?:to|for|of) ",
                "how",
                "",
                _I,
            ),
            (r"^what (?:do|must|should) (i|we) (?:have to |need to )?do to ", "how", r"\1 ", ()),
            (
                r"^(i|we) (?:want|need|wish|would like|am trying|are trying|am looking) to ",
                "how",
                r"\1 ",
                (),
            ),
            (r"^(?:(?:can|could) you )?(?:please )?help (?:me|us) (?:to )?", "how", "", _I),
            (r"^(?:what is the reason (?:that|why|for)|for what reason|why) ", "why", "", ()),
            (r"^(?:at )?what time ", "when", "", ()),
            (r"^(when|where|who|whose|whom) ", r"\1", "", ()),
            (r"^(?:what|which) (?:is|are|do|does) ", "what", "", ()),
            (r"^(?:what|which) ", "what", "", ()),
            (r"^is it (?:possible|allowed|permitted) to ", "whether", "can ", _I),
            (r"^is it possible (?:for|that) ", "whether", "can ", ()),
            (r"^is there (?:a|any) way to ", "whether", "can ", _I),
            (r"^is it (?:necessary|required|mandatory) to ", "whether", "must ", _I),
            (r"^(?:is|are) there (?:any |an? )?", "whether", "@there ", ()),
            (r"^do you (?:have|offer|provide) (?:any |an? )?", "whether", "@there ", ()),
            (r"^(?:whether|if) ", "whether", "", ()),
            (r"^(?:is|are|am|do|does|has|have) ", "whether", "", ()),
            (
                r"^(did|was|were|had|can|could|may|might|must|should|will|would) ",
                "whether",
                r"\1 ",
                (),
            ),
        )
    ),
    "de": tuple(
        (re.compile(pattern), asks, rest, implied)
        for pattern, asks, rest, implied in (
            (r"^(?:wie ?viel|was) ~?kostet (.*)", "how much", r"\1 kosten", ()),
            (r"^wie teuer (?:ist|sind) (.*)", "how much", r"\1 kosten", ()),
            (
                r"^wie hoch (?:ist der °preis|sind die °kosten) (?:für|von) (.*)",
                "how much",
                r"\1 kosten",
                (),
            ),
            (r"^wie ?viele? ", "how much", "", ()),
            (r"^wie lang(?:e)? ", "how long", "", ()),
            (r"^wie (oft|weit|alt|schnell|früh|spät|groß) ", r"how \1", "", ()),
            (r"^wie hoch (?:ist|sind) ", "what", "", ()),
            (r"^wie (?:kann|können|könnte) ", "how", "", ()),
            (r"^wie ", "how", "", ()),
            (r"^was muss (ich|man) ~?tun um ", "how", r"\1 ", ()),
            (
                r"^(ich|wir) (?:möchten?|will|wollen|würden? gerne?) (?=.*[a-zäöüß]n$)(?!.* °\w+$)",
                "how",
                r"\1 ",
                (),
            ),
            (r"^(?:warum|wieso|weshalb|aus welchem °grund) ", "why", "", ()),
            (r"^(?:wann|um wie ?viel °uhr) ", "when", "", ()),
            (r"^(wo|wohin|woher|wer|wem|wen|wessen) ", r"\1", "", ()),
            (r"^(?:was|welche[nmrs]?) ", "what", "", ()),
            (r"^ist es (?:möglich|erlaubt) (?=.*\w*zu)(?!dass)", "whether", "kann ", _I),
            (r"^ist es möglich dass ", "whether", "kann ", ()),
            (r"^(?:ist es (?:nötig|notwendig)) ", "whether", "muss ", _I),
            (r"^(?:gibt es|haben you|habt ihr) ", "whether", "@there ", ()),
            (r"^ob ", "whether", "", ()),
        )
    ),
}


def question_of(joined: str, language: str, *, question: bool) -> tuple[str, str, tuple[int, ...]]:
    """What remains of a text, what it asks, and who is meant though not named."""
    joined = _GREETING.sub("", joined)
    joined = _PREFACES.sub("", joined)
    for pattern, asks, rest, implied in _RULES[language]:
        match = pattern.match(joined)
        if match is not None:
            remaining = match.expand(rest) + joined[match.end() :]
            return remaining, match.expand(asks) if asks else asks, implied
    return joined, "whether" if question else "", ()
