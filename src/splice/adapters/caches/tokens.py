"""Tokens: a text as words in one spelling, from which its meaning can be read."""

from __future__ import annotations

import re
import unicodedata

import msgspec

from splice.adapters.caches import words
from splice.adapters.caches.words import NOUN, VERB

_TOKEN = re.compile(
    r"""(?P<address>\w+://\S+|(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+)
    |(?P<code>(?:(?<![^\s(])[+-])?(?=[\w.,:/-]*\d)\w+(?:[.,:/'-]\w+)*)
    |(?P<word>[^\W\d_]+(?:'[^\W\d_]+)*)
    |(?P<break>[.,;:!?()\[\]\n…–—])
    |(?P<skip>[\s"'„“”‚‘«»¿¡/_-]|(?<![^\s(])\#)
    |(?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)
_SPELLINGS = (
    (re.compile(r"[’ʼ´`]"), "'"),
    (re.compile(r"\be-?mail"), "email"),
    (re.compile(r"\bE-?[Mm]ail"), "Email"),
    (re.compile(r"\bwi-fi\b", re.IGNORECASE), "wifi"),
    (re.compile(r"([€$£])\s?(\d(?:[\d.,]*\d)?)"), r"\2 \1"),  # "€ 5" and "5 €"
    (re.compile(r"\b(?:no|nr)\.\s?(?=\d)", re.IGNORECASE), ""),  # "invoice no. 4711" is no negation
)
_SHORT = (
    (re.compile(r"\b(?:cannot|can't)\b"), "can not"),
    (re.compile(r"\bwon't\b"), "will not"),
    (re.compile(r"n't\b"), " not"),
    (re.compile(r"'m\b"), " am"),
    (re.compile(r"'re\b"), " are"),
    (re.compile(r"'ve\b"), " have"),
    (re.compile(r"'ll\b"), " will"),
    (re.compile(r"'d\b"), " would"),
    (re.compile(r"\b(what|how|where|when|who|it|that|there|here)'s\b"), r"\1 is"),
    (re.compile(r"'s?(?= |$)"), ""),  # whose it is: "my friend's account"
)
_NUMBER = {
    "en": re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?"),
    "de": re.compile(r"[+-]?\d{1,3}(?:\.\d{3})+(?:,\d+)?"),
}
_QUOTES = frozenset("\"'„“”‚‘«»")
_MOST_WORDS_CAPITAL = 0.6


class Token(msgspec.Struct):
    """One word: as it was written, in lower case, and where it stands."""

    text: str
    low: str
    begins: bool  # a sentence
    ends: bool  # a clause
    is_word: bool


def tokens_of(text: str) -> tuple[list[Token], bool]:
    """The tokens of a text, and whether it ends as a question."""
    text = unicodedata.normalize("NFC", text).strip()
    for pattern, instead in _SPELLINGS:
        text = pattern.sub(instead, text)
    found: list[Token] = []
    begins = True
    for match in _TOKEN.finditer(text):
        kind, written = match.lastgroup, match[0]
        if kind == "skip":
            continue
        if kind == "break":
            if found:
                found[-1].ends = True
            begins = begins or written in ".!?:\n"
            continue
        if kind == "address":
            written = written.rstrip(".,;:!?)")
        low = written if kind == "address" else written.lower()
        quoted = text[match.start() - 1 : match.start()] in _QUOTES
        if quoted and text[match.end() : match.end() + 1] in _QUOTES and is_function(low):
            low = f"^{low}"  # 'what does "may" mean'
        found.append(Token(written, low, begins, False, kind == "word"))
        begins = False
    if found:
        found[-1].ends = True
    return found, text.rstrip("\"'”“« )").endswith("?")


def language_of(tokens: list[Token]) -> str:
    """`en` or `de`, by the words that bind others; empty where they do not tell."""
    told = {name: sum(t.low in tells for t in tokens) for name, tells in words.TELLS.items()}
    # Short forms tell English as well.
    told["en"] += sum(t.low.endswith(("n't", "'m", "'s")) or t.low == "cannot" for t in tokens)
    if told["en"] == told["de"]:
        return ""
    return "en" if told["en"] > told["de"] else "de"


def is_function(word: str) -> bool:
    """Whether a word is one of those that bind others, not one that names something."""
    return word in _FUNCTIONS


def joined_en(tokens: list[Token]) -> str:
    """The words in lower case, except names that look like words of the language (US, May)."""
    capitals = sum(t.text[0].isupper() for t in tokens if t.is_word)
    title = capitals > _MOST_WORDS_CAPITAL * len(tokens)
    shown: list[str] = []
    for token in tokens:
        low = token.low
        function = is_function(low)
        if not token.is_word:
            low = _number(low, "en")
        elif function and low != "i" and not title and not token.begins and token.text[0].isupper():
            low = f"^{low}"
        elif low in ("a", "i") and token.ends and len(tokens) > 1:
            low = f"^{low}"  # "hepatitis A", "World War I"
        shown.append(low)
    joined = " ".join(shown)
    for pattern, instead in _SHORT:
        joined = pattern.sub(instead, joined)
    ends = {i for i, token in enumerate(tokens) if token.ends}
    parts = joined.split()
    # Where a short form became two words, positions have moved: then only the very end is known.
    ends = ends if len(parts) == len(tokens) else {len(parts) - 1}
    return " ".join(_phrases(_phrasal(parts, ends)))


def _phrasal(parts: list[str], ends: set[int]) -> list[str]:
    """Gives "turn notifications off" as "turn_off notifications"."""
    fused = list(parts)
    for i, part in enumerate(parts):
        if part not in words.PHRASAL:
            continue
        for j in range(i + 1, min(i + 6, len(parts))):
            if parts[j] in words.PARTICLES_EN and (j == i + 1 or j in ends):
                fused[i], fused[j] = f"{part}_{parts[j]}", ""
                break
            if j in ends:
                break
    return [part for part in fused if part]


def _phrases(parts: list[str]) -> list[str]:
    shown: list[str] = []
    i = 0
    while i < len(parts):
        for length in (4, 3, 2):
            phrase = tuple(parts[i : i + length])
            if len(phrase) == length and phrase in words.PHRASES:
                shown.append("_".join(phrase))
                i += length
                break
        else:
            shown.append(parts[i])
            i += 1
    return shown


_ZU = re.compile(rf"({'|'.join(words.PARTICLES_DE)})zu(\w{{4,}})")
_ADD = re.compile("hinzu(?!zu)")  # "hinzufügen" itself, not "hin" with "zu" in it
_BEFORE_VERBS_DE = frozenset(
    {"wie", "was", "wo", "wann", "warum", "wieso", "weshalb", "wer", "wen", "wem", "ich", "wir"}
)


def joined_de(tokens: list[Token], question: bool) -> str:
    """The words in lower case, nouns and verbs marked, what was split off its verb put back."""
    shown: list[str] = []
    verb = -1
    for i, token in enumerate(tokens):
        word = _word_de(token, lone=len(tokens) == 1, question=question)
        if token.ends and i and token.low in words.PARTICLES_DE and verb >= 0:
            shown[verb] = VERB + token.low + shown[verb].removeprefix(VERB)
            word = ""
        plain = token.is_word and word == word.lstrip("°^") and not _is_known_de(token.low)
        if plain and word not in ("", "you", "your"):
            after = tokens[i - 1].low if i and not tokens[i - 1].ends else ""
            if token.ends or after in _BEFORE_VERBS_DE or (token.begins and question):
                word = VERB + word
            verb = i if verb < 0 else verb
        shown.append(word)
        verb = -1 if token.ends else verb
    return " ".join(word for word in shown if word)


def _word_de(token: Token, *, lone: bool, question: bool) -> str:
    """One word; courtesy is told from others by its capital letter, and so are nouns."""
    low, capital = token.low, token.text[0].isupper()
    if not token.is_word:
        return _number(low, "de")
    if capital and low in ("sie", "ihnen"):
        return "you"
    if capital and low.startswith("ihr") and (low == "ihr" or low in words.OWNERS["de"]):
        return "your"
    if _is_known_de(low) or low.startswith("^"):
        return low
    # A question may begin with its verb.
    if capital and not (token.begins and (question or lone)):
        return NOUN + low
    return _ZU.sub(r"\1\2", low) if _ZU.fullmatch(low) and not _ADD.match(low) else low


def _is_known_de(low: str) -> bool:
    return low in words.TELLS["de"] or low in words.HELPING_DE or is_function(low)


def _number(token: str, language: str) -> str:
    """A number without the marks between its thousands; codes stay as they are."""
    if not _NUMBER[language].fullmatch(token):
        return token
    if language == "en":
        return token.replace(",", "")
    return token.replace(".", "").replace(",", ".")


_ASKING_EN = frozenset({"how", "what", "when", "where", "why", "who", "whose", "whom", "which"})
_FUNCTIONS = frozenset[str]().union(
    *words.STOP.values(),
    *words.LINKS.values(),
    *words.PERSONS.values(),
    *words.OWNERS.values(),
    words.MODALS,
    words.FUTURE,
    words.NEGATIONS,
    _ASKING_EN,
)
