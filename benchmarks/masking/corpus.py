"""Makes the texts of the benchmark: invented people in sentences of others, and texts of nobody.

Runs in an environment of its own (`requirements-corpus.txt`). One JSON object a line: `text`, and
`spans` with the rule that each is for. The sentences are those of Presidio's own evaluation and of
plain forms; the values are Faker's, of many countries. What holds nothing personal are reviews of
food that people wrote (R's `modeldata`), and the documentation of Python itself.
"""

from __future__ import annotations

import json
import lzma
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics  # the documentation of the language
from typing import Any

import rdata
from faker import Faker

SEED = 20261128
FILLS = 3
REVIEWS = 2000
Text = dict[str, Any]

RULES = {
    "credit_card_number": "card", "phone_number": "phone", "email": "email", "iban": "iban",
    "ssn": "us_ssn", "ip_address": "ip", "date_of_birth": "birthdate",
}  # fmt: skip
"""Fields of the templates, and the rules that are for them."""

IDENTITY = {
    "it_IT": ("it_cf", "codice fiscale"),
    "fr_FR": ("fr_nir", "numéro de sécurité sociale"), "es_ES": ("es_nif", "NIF"),
    "nl_NL": ("nl_bsn", "BSN"), "pl_PL": ("pl_pesel", "PESEL"), "pt_BR": ("br_cpf", "CPF"),
    "fi_FI": ("fi_hetu", "henkilötunnus"), "sv_SE": ("se_pnr", "personnummer"),
    "no_NO": ("no_fnr", "fødselsnummer"), "de_CH": ("ch_ahv", "AHV-Nummer"),
    "nl_BE": ("be_nn", "rijksregisternummer"), "cs_CZ": ("cz_rc", "rodné číslo"),
    "ro_RO": ("ro_cnp", "CNP"), "bg_BG": ("bg_egn", "ЕГН"), "hr_HR": ("hr_oib", "OIB"),
    "et_EE": ("ee_ik", "isikukood"), "el_GR": ("gr_amka", "ΑΜΚΑ"),
    "tr_TR": ("tr_tckn", "TC Kimlik No"),
    "de_AT": ("at_svnr", "Sozialversicherungsnummer"), "ko_KR": ("kr_rrn", "주민등록번호"),
    "zh_CN": ("cn_ric", "身份证"), "en_CA": ("ca_sin", "SIN"), "en_US": ("us_ssn", "SSN"),
}  # fmt: skip
"""Locales of Faker, the rule for what it calls `ssn` there, and what people there call it.

Not Britain's: what Faker gives for it begins with ZZ, as no number does.
"""

PHONES = ("de_DE", "en_GB", "en_US", "fr_FR", "es_ES", "it_IT", "nl_NL", "pl_PL", "de_AT", "de_CH",
          "sv_SE", "pt_PT", "en_IN", "pt_BR")  # fmt: skip


def main(templates: str, reviews: str, target: str) -> None:
    """Write the texts."""
    texts = [*filled(Path(templates)), *forms(), *plain(Path(reviews))]
    lines = [json.dumps(one, ensure_ascii=False) for one in texts]
    Path(target).write_text("\n".join(lines) + "\n", encoding="utf-8")


def filled(file: Path) -> Iterator[Text]:
    """Sentences of Presidio's evaluation with invented values."""
    fake = Faker("en_US")
    fake.seed_instance(SEED)
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    for line in [one for one in lines if one.strip()] * FILLS:
        text, spans, end = "", list[tuple[int, int, str]](), 0
        for match in re.finditer(r"\{\{(\w+)\}\}", line):
            text += line[end : match.start()]
            value = value_of(fake, match[1])
            if match[1] in RULES:
                spans.append((len(text), len(text) + len(value), RULES[match[1]]))
            text, end = text + value, match.end()
        yield {"text": text + line[end:], "spans": spans, "source": "templates"}


def value_of(fake: Faker, field: str) -> str:
    """An invented value of a field."""
    made = {
        "person": fake.name, "organization": fake.company, "ip_address": fake.ipv4_public,
        "date_time": lambda: fake.date_time().isoformat(sep=" "),
        "age": lambda: str(fake.random_int(18, 90)),
        "date_of_birth": lambda: fake.date_of_birth().strftime("%d/%m/%Y"),
        "us_driver_license": lambda: fake.bothify("?#######"), "zipcode": fake.postcode,
        "nationality": lambda: "Norwegian", "nation_woman": lambda: "Frenchwoman",
        "nation_plural": lambda: "Danes",
    }  # fmt: skip
    return str(made.get(field, getattr(fake, field, fake.word))())


def forms() -> Iterator[Text]:
    """Lines as of forms and letters, with values as each country writes them."""
    for locale in PHONES:
        fake = Faker(locale)
        fake.seed_instance(SEED)
        for number in range(30):
            value = fake.phone_number()
            before = ("Phone: ", "You reach me at ", "Contact ")[number % 3]
            yield one(
                before, value, ", any day.", "phone", f"phone {'alone' if number % 3 else 'named'}"
            )
    for locale, (rule, named) in IDENTITY.items():
        fake = Faker(locale)
        fake.seed_instance(SEED)
        for number in range(30):
            value = str(fake.ssn())
            before = (f"{named}: ", "On file is ")[number % 2]
            yield one(before, value, ".", rule, f"identity {'alone' if number % 2 else 'named'}")
    for locale in ("de_DE", "en_GB", "fr_FR", "nl_NL", "es_ES", "it_IT", "pl_PL"):
        fake = Faker(locale)
        fake.seed_instance(SEED)
        for number in range(15):
            value = fake.iban()
            value = re.sub("(....)", r"\1 ", value).strip() if number % 2 else value
            yield one("Pay to ", value, " today.", "iban", "iban")
            yield one("Write to ", fake.email(), ".", "email", "email")
            yield one("It came from ", fake.ipv6() if number % 2 else fake.ipv4(), ".", "ip", "ip")


def one(before: str, value: str, after: str, rule: str, source: str) -> Text:
    """A text with one value."""
    span = (len(before), len(before) + len(value), rule)
    return {"text": before + value + after, "spans": [span], "source": source}


def plain(file: Path) -> Iterator[Text]:
    """Texts that name nobody, as far as their sources go."""
    for review in reviews(file)[:REVIEWS]:
        yield {"text": str(review), "spans": [], "source": "reviews"}
    for topic in topics.values():
        for part in re.split(r"\n\n\n+|\n(?=\*{5,})", topic):
            if len(part) > 200:
                yield {"text": part[:8000], "spans": [], "source": "python"}


def reviews(folder: Path) -> list[str]:
    """The reviews in the data folder of R's package, whose objects are xz streams in one file."""
    warnings.simplefilter("ignore")
    index = rdata.conversion.convert(rdata.parser.parse_file(folder / "Rdata.rdx"))
    begin, size = (int(one) for one in index["variables"]["training_data"])
    packed = (folder / "Rdata.rdb").read_bytes()[begin + 5 : begin + size]
    plain = [{"id": lzma.FILTER_LZMA2, "preset": 9}]
    data = lzma.decompress(packed, format=lzma.FORMAT_RAW, filters=plain)
    table = rdata.conversion.convert(rdata.parser.parse_data(data))
    return [str(one) for one in table["review"]]


if __name__ == "__main__":
    main(*sys.argv[1:4])
