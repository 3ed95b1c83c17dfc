"""Documents to learn from: 54 templates, filled in at random. MADE UP for this example.

Nobody sent these documents. One author wrote the templates for this repository (licence: that
of the repository): nine for each of six classes, with names, places and amounts drawn from short
lists. `other` is what is none of the five: recipes, minutes, letters to friends, mere numbers. A
set by one hand is easier than real mail. The split is by template, so that the held-out texts
follow templates that training never saw; texts of one template are much alike, so the figure to
look at is how many held-out *templates* come out right, and there are but eighteen.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Final, NamedTuple

SOURCE: Final = "made up: templates written by hand for this example, filled in at random"
LICENCE: Final = "that of this repository"
CLASSES: Final = ("complaint", "contract", "cv", "delivery_note", "invoice", "other")
"""In the order of the model's probabilities."""

SEED: Final = 20261128
HELD_OUT_PER_CLASS: Final = 3
TEXTS_PER_TEMPLATE: Final = 16

_TEMPLATES: Final = Path(__file__).with_name("templates.txt")
_NAMES: Final = {
    "company": "Brightwater Tools Ltd|Harbour Café|Northgate Print GmbH|Alder & Sons|Quill Office|"
    "Meridian Freight|Saltmarsh Foods|Copperfield Dental|Tern Software|Oakridge Motors",
    "person": "Anna Weber|Tom Okafor|Maria Silva|Jan Kowalski|Li Chen|Emma Brandt|Noah Fischer|"
    "Priya Nair|Omar Haddad|Sofia Rossi",
    "street": "14 Mill Lane|3 Quay Street|Hauptstrasse 8|22 Rue Basse|9 Elm Road|71 Station Road",
    "city": "Leeds|Hamburg|Lyon|Graz|Porto|Gdansk|Ghent|Cork|Turin|Basel",
    "item": "drill bits|a workbench|safety gloves|office chairs|printer paper|coffee beans|"
    "a dishwasher|web hosting|roof tiles|a bicycle|translation work|cleaning of offices|cables",
    "job": "accountant|nurse|software engineer|warehouse clerk|teacher|electrician|sales manager|"
    "graphic designer|chemist",
    "school": "University of Leeds|TU Graz|Lyon Business School|Porto Polytechnic|City College",
    "skill": "bookkeeping|Python|patient care|forklift driving|negotiation|wiring|typography|"
    "chromatography|SQL|lesson planning|customer relations",
    "month": "January|March|April|June|July|September|October|December",
}
_SLOT: Final = re.compile(r"\{(\w+?)(\d?)\}")


class Template(NamedTuple):
    """One way to write a document of a class."""

    kind: str
    name: str
    text: str


class Document(NamedTuple):
    """A text, its class, and the template it was made from."""

    text: str
    kind: str
    template: str


def templates() -> list[Template]:
    """All 54, in the order of the file."""
    found: list[Template] = []
    for part in _TEMPLATES.read_text("utf-8").split("=== ")[1:]:
        head, _, text = part.partition("\n")
        found.append(Template(head.split()[0], head, text.strip()))
    return found


def split(known: Sequence[Template]) -> tuple[list[Template], list[Template]]:
    """Templates to train with (6 a class) and held-out ones (3 a class), the same everywhere."""
    draw = random.Random(SEED)  # noqa: S311 - a fixed split, not a secret
    held_out: set[str] = set()
    for kind in CLASSES:
        names = [one.name for one in known if one.kind == kind]
        held_out.update(draw.sample(names, HELD_OUT_PER_CLASS))
    return (
        [one for one in known if one.name not in held_out],
        [one for one in known if one.name in held_out],
    )


def documents(known: Sequence[Template], seed: int = SEED) -> list[Document]:
    """Some texts of each template; every third as a bad scan would be read."""
    draw = random.Random(seed)  # noqa: S311 - made-up texts, not secrets
    found: list[Document] = []
    for template in known:
        for number in range(TEXTS_PER_TEMPLATE):
            text = filled(template, draw)
            text = misread(text, draw) if number % 3 == 2 else text
            found.append(Document(text, template.kind, template.name))
    return found


def filled(template: Template, draw: random.Random) -> str:
    """The template with every slot filled; the same slot gets the same value everywhere."""
    values: dict[str, str] = {}

    def value(match: re.Match[str]) -> str:
        if match[0] not in values:
            values[match[0]] = _draw(match[1], draw)
        return values[match[0]]

    return _SLOT.sub(value, template.text)


def misread(text: str, draw: random.Random) -> str:
    """The text with some letters swapped and some spaces lost."""
    return "".join(_misread_letters(text, draw))


def _misread_letters(text: str, draw: random.Random) -> Iterator[str]:
    alike = {"o": "0", "l": "1", "i": "l", "e": "c", "m": "rn", "S": "5", "B": "8", " ": ""}
    for letter in text:
        yield alike[letter] if letter in alike and draw.random() < 0.03 else letter


def _draw(slot: str, draw: random.Random) -> str:
    if slot in _NAMES:
        return draw.choice(_NAMES[slot].split("|"))
    day = date(2026, 1, 1) + timedelta(days=draw.randrange(330))
    digits = "".join(draw.choice("0123456789") for _ in range(8))
    makers = {
        "amount": lambda: f"{draw.uniform(40, 2000):.2f}",
        "date": lambda: draw.choice((day.isoformat(), f"{day:%-d %B %Y}", f"{day:%d.%m.%Y}")),
        "days": lambda: str(draw.choice((7, 10, 14, 21, 30))),
        "digits": lambda: digits,
        "email": lambda: f"{draw.choice(('anna', 'tom', 'li'))}@{draw.choice('abc')}.example",
        "iban": lambda: f"DE89 3704 0044 {digits[:4]} {digits[4:]} 00",
        "number": lambda: f"{draw.choice(('INV', 'A', 'R', 'NO'))}-2026-{digits[:4]}",
        "phone": lambda: f"+49 40 {digits[:6]}",
        "price": lambda: f"{draw.uniform(1, 90):.2f}",
        "qty": lambda: str(draw.randint(2, 40)),
        "tax": lambda: f"{draw.uniform(5, 300):.2f}",
        "total": lambda: f"{draw.uniform(60, 2400):.2f}",
        "year": lambda: str(draw.randint(2008, 2024)),
    }
    return makers[slot]()
