"""Words of English and German that the second check of the semantic cache knows.

What is not listed here is no loss of safety: a word that is not known must stand in both questions.
A word that is listed wrongly is one: two words of a line are taken for the same thing. So a line
holds only what can replace each other in nearly every question to a help desk, and when in doubt,
they stand apart ("update" is not "change", "end" is not "cancel").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

_T = TypeVar("_T")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


def _each(words: str, meaning: _T) -> dict[str, _T]:
    return dict.fromkeys(words.split(), meaning)


_ACTIONS_EN: Final = """
cancel cancelling canceling cancellation terminate terminating termination
reset resetting
change changing modify modifying alter altering
delete deleting deletion erase erasing remove removing removal
add adding
buy buying purchase purchasing
sell selling
deliver delivering delivery ship shipping shipment
arrive arriving arrival
pay paying payment
refund refunding reimburse reimbursement money_back
return returning send_back give_back
enable enabling activate activating activation turn_on switch_on
disable disabling deactivate deactivating deactivation turn_off switch_off
login log_in sign_in log_on
logout log_out sign_out log_off
register registering registration sign_up
contact contacting reach get_in_touch_with get_in_contact_with
find finding locate locating
block blocking freeze freezing
unblock unfreeze
unlock unlocking
lock locking
book booking reserve reserving reservation
restart restarting reboot rebooting
begin beginning start starting
get getting receive receiving obtain
need needing require requiring
cost costing
raise raising increase increasing
lower lowering decrease decreasing reduce reducing
extend extending extension prolong
fix fixing repair repairing resolve resolving
use using
choose choosing select selecting
merge merging combine combining
request requesting ask_for
approve approving approval authorise authorize
connect connecting connection
disconnect disconnecting
open opening
close closing
transfer transferring
export exporting
import importing
download downloading
upload uploading
install installing installation
configure configuring configuration set_up
mean meaning
include including contain containing
pick_up
carry_over
"""
"""One action a line. An action may stand elsewhere in the sentence ("transfer limit", "limit for
transfers"); a thing may not ("from savings to checking")."""

_THINGS_EN: Final = """
phone telephone smartphone cellphone
parcel package
invoice bill
company firm
customer client
photo picture image
wrong incorrect
correct
defective faulty broken
big large
biggest largest
maximum max
minimum min
free free_of_charge
child kid children kids
percent %
website homepage
apartment flat
television tv
information info
yearly annual annually
already yet
if when
twice two_times 2_times
usa united_states ^us
uk united_kingdom
customer_support customer_service
quickly fast
right_now now
"""

_ACTIONS_DE: Final = """
kündigen Kündigung
ändern Änderung
löschen Löschung entfernen
zahlen bezahlen Zahlung Bezahlung
liefern Lieferung verschicken versenden Versand zustellen Zustellung
aktivieren Aktivierung einschalten anschalten
deaktivieren Deaktivierung ausschalten abschalten
anmelden Anmeldung einloggen Login
abmelden Abmeldung ausloggen Logout
registrieren Registrierung
zurücksetzen
sperren Sperrung blockieren
entsperren Entsperrung
bekommen erhalten kriegen
zurückbekommen zurückerhalten zurückkriegen wiederbekommen
brauchen benötigen
kaufen erwerben
verkaufen Verkauf
zurückgeben Rückgabe zurückschicken zurücksenden
erstatten Erstattung Rückerstattung
verlängern Verlängerung
erhöhen Erhöhung
senken Senkung mindern
hinzufügen
hochladen
herunterladen runterladen
genehmigen Genehmigung
buchen Buchung reservieren Reservierung
bedeuten heißen
kosten
finden
suchen
exportieren
importieren
öffnen Öffnung
schließen
beantragen
prüfen überprüfen
verbinden
"""

_THINGS_DE: Final = """
Unterlagen Dokument Dokumente
Paket Päckchen
Handy Smartphone Mobiltelefon
Email Mail
falsch inkorrekt
richtig korrekt
kaputt defekt
schnell rasch
geöffnet offen
enthalten inbegriffen inklusive
schon bereits
Samstag Sonnabend
Foto Bild
Firma Unternehmen
kostenlos gratis kostenfrei
versandt verschickt versendet
Prozent %
Fehler Fehlermeldung
wenn falls
WLAN Wifi
"""

ENDINGS_EN: Final = (("ies", "y"), ("sses", "ss"), ("ches", "ch"), ("shes", "sh"), ("xes", "x"))
_KEPT_S: Final = ("ss", "us", "is", "ws")
_NOUN_ENDINGS_DE: Final = ("en", "es", "e", "n", "s")
_OTHER_ENDINGS_DE: Final = ("en", "em", "er", "es", "et", "st", "e", "n", "t")

NOUN: Final = "°"
"""Before a German word that was written with a capital letter."""

VERB: Final = "~"
"""Before a German word that stands where a verb does."""


def stem_en(word: str) -> str:
    """A noun without the ending of its plural, a verb without that of its third person."""
    if len(word) <= 3:
        return word
    for ending, instead in ENDINGS_EN:
        if word.endswith(ending):
            return word[: -len(ending)] + instead
    return word[:-1] if word.endswith("s") and not word.endswith(_KEPT_S) else word


def stem_de(word: str) -> str:
    """A word without the last ending of its inflection; nouns and other words have their own."""
    noun = word.startswith(NOUN)
    plain = word.removeprefix(NOUN)
    for ending in _NOUN_ENDINGS_DE if noun else _OTHER_ENDINGS_DE:
        if plain.endswith(ending) and len(plain) - len(ending) >= 3:
            plain = plain[: -len(ending)]
            break
    return NOUN + plain if noun else plain


def _groups(table: str, language: str) -> dict[str, str]:
    """From the stem of each word of a line to the line's first word."""
    found: dict[str, str] = {}
    for line in table.split("\n"):
        words = line.split()
        for word in words:
            found[_stem_as_written(word, language)] = words[0]
    return found


def _stem_as_written(word: str, language: str) -> str:
    if language == "en":
        return word if "_" in word else stem_en(word)
    capital = word[:1].isupper()
    return stem_de(NOUN + word.lower() if capital else word)


ACTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": _groups(_ACTIONS_EN, "en"),
    "de": _groups(_ACTIONS_DE, "de"),
}
SAME: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {**_groups(_THINGS_EN, "en"), **ACTIONS["en"]},
    "de": {**_groups(_THINGS_DE, "de"), **ACTIONS["de"]},
}
"""By language: from a stem to the word that stands for all that mean the same."""

PHRASES: Final = frozenset(
    tuple(phrase.split("_")) for phrase in SAME["en"] if "_" in phrase.strip("_")
)
"""English words that are one together, as the tuple of their parts."""

PHRASAL: Final = frozenset(
    {"turn", "switch", "log", "sign", "send", "give", "set", "pick", "carry"}
)
PARTICLES_EN: Final = frozenset({"on", "off", "in", "out", "up", "down", "back", "over"})
PARTICLES_DE: Final = _set(
    "ab an auf aus ein fest her hin hinzu los mit nach um vor weg weiter wieder zu zurück zusammen"
)
"""At the end of a clause they belong to its verb: "schalte … ein"."""

NEGATIONS: Final = _set("""not no never none nobody nothing nowhere neither nor without unable
    nicht kein keine keinen keinem keiner keines nie niemals niemand nichts nirgends weder
    ohne""")

PAST: Final[Mapping[str, frozenset[str]]] = {
    "en": _set("did was were had been"),
    "de": _set("war waren wurde wurden hatte hatten"),
}
FUTURE: Final = frozenset({"will", "shall"})  # English; "wird" also makes the passive

MODALS: Final[Mapping[str, str]] = {
    **_each(
        """can could may might able allowed permitted possible kann kannst könnt können könnte
        könnten darf darfst dürft dürfen dürfte möglich erlaubt""",
        "can",
    ),
    **_each("must muss musst müsst müssen müsste obliged verpflichtet", "must"),
    **_each("should ought soll sollst sollt sollen sollte sollten", "should"),
}

PERSONS: Final[Mapping[str, Mapping[str, int]]] = {
    "en": {
        **_each("i me we us", 1),
        **_each("you", 2),
        **_each("he him", 3),
        **_each("she", 4),
        **_each("they them", 5),
    },
    "de": {
        **_each("ich wir man uns", 1),
        **_each("du dich dir ihr euch you", 2),  # "Sie" becomes "you"
        **_each("er ihn ihm", 3),
        **_each("sie", 4),
        **_each("ihnen", 5),
    },
}
"""1 who speaks, 2 who is spoken to, others by their sex and number."""

OWNERS: Final[Mapping[str, Mapping[str, int]]] = {
    "en": {
        **_each("my our", 1),
        **_each("your", 2),
        **_each("his", 3),
        **_each("her", 4),
        **_each("their", 5),
        **_each("its", 6),
    },
    "de": {
        **_each("mein meine meinen meinem meiner meines", 1),
        **_each("unser unsere unseren unserem unserer", 1),
        **_each("dein deine deinen deinem deiner deines", 2),
        **_each("euer eure euren eurem eurer your", 2),  # "Ihr" becomes "your"
        **_each("sein seine seinen seinem seiner seines", 3),
        **_each("ihre ihren ihrem ihrer ihres", 4),
    },
}

_STOP_EN: Final = """
a an the and is are be am being do does doing has have having would
it this that these those there any some s
please hi hello hey thanks thank kindly just actually exactly really simply so well ok okay sorry
dear then
"""
_STOP_DE: Final = """
der die das den dem des ein eine einen einem einer eines und ist sind bin bist seid sein es
dass sich mich mir hat habe haben hast habt wird
werden werde bitte denn eigentlich mal doch etwa hallo danke gern gerne guten tag so gibt
"""
STOP: Final[Mapping[str, frozenset[str]]] = {
    "en": _set(_STOP_EN),
    "de": _set(_STOP_DE),
}

TELLS: Final[Mapping[str, frozenset[str]]] = {
    "en": _set(
        """the my i how do does did is are can what when where why who which to of for and not you
        your it please this that with from has have should must there whose could would if"""
    ),
    "de": _set(
        """ich mein meine meinen meinem meiner wie kann können der das den dem ein eine einen einem
        einer ist sind wann wo warum wieso weshalb wer welche welcher welches welchen und nicht
        kein keine für auf mit zu im zum zur haben habe wird wurde muss darf soll sie ihr es gibt
        von nach wenn auch bitte wem wen wessen viel viele bei"""
    ),
}
"""Words that tell the language; none that both languages have."""

LINKS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        **_each("in on at", "in"),
        **_each("by with via", "by"),
        **{word: word for word in ("of", "for", "to", "about")},
    },
    "de": {
        **_each("in im ins", "in"),
        **_each("an am ans", "an"),
        **_each("auf aufs", "auf"),
        **_each("bei beim", "bei"),
        **_each("mit per via", "mit"),
        **_each("zu zum zur", "zu"),
        **_each("für", "für"),
        **_each("um", "um"),
    },
}
"""Prepositions, by what they say of the word that follows. Others ("from", "without", "nach") are
words like all that remain."""

VERBS_EN: Final = _set(
    """give take send go see make keep put bring travel write read have know tell show leave move
    stay hold print view share do be"""
)
"""Before these, "to" links nothing either."""

LINKS_ALIKE: Final = frozenset({("", "of"), ("for", "of")})
"""Pairs (sorted) that say the same: "price of the plan", "plan price", "price for the plan"."""

HELPING_DE: Final = _set("was möchte möchten will wollen würde würden ob dass als")
"""German words that bind others and that English has too, or that no list above needs."""

CASES_DE: Final[Mapping[str, str]] = {
    **_each("der ein kein", "who"),
    **_each("den einen keinen", "whom"),
}
"""The articles that tell the one who does from the one to whom it is done."""

STRICT: Final = _set("from than before after into instead between over under against")
"""Where one of these stands, English order is meaning, and nothing may stand elsewhere."""

NUMBERS: Final[Mapping[str, str]] = {
    word: str(number)
    for words in (
        "two three four five six seven eight nine ten eleven twelve",
        "zwei drei vier fünf sechs sieben acht neun zehn elf zwölf",
    )
    for number, word in enumerate(words.split(), 2)
}
