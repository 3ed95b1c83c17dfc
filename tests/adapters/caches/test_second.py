"""The second check: what it must refuse, however near, and what it must let pass."""

from __future__ import annotations

import random

import pytest

from splice.adapters.caches.reading import read
from splice.adapters.caches.second import difference, same_question

OTHER = """
Can I ship it to the US? | Can I ship it to us?
Is the plan for 2 users? | Is the plan for 3 users?
What is x > 5? | What is x < 5?
What is 5 - 3? | What is 5 + 3?
What is -5 plus 3? | What is 5 plus 3?
How do I get to plan A? | How do I get to plan?
Is vitamin C good for me? | Is vitamin D good for me?
What is C# used for? | What is C used for?
What is C++ used for? | What is C used for?
Do you accept returns? | Do I accept returns?
Can you call me? | Can I call you?
Can he cancel my order? | Can she cancel my order?
Can he cancel my order? | Can I cancel my order?
Does the customer pay the supplier? | Does the supplier pay the customer?
Is the card not working and the account working? | Is the card working and the account not working?
How do I book a flight from Oslo to Bergen? | How do I book a flight from Bergen to Oslo?
How do I book a flight to Oslo? | How do I book a flight from Oslo?
When can I withdraw? | When must I withdraw?
When did it ship? | When will it ship?
Is it safe? | Is it not safe?
What did you ship on 2024-05-03? | What did you ship on 2024-05-04?
What was shipped on 03/04/2025? | What was shipped on 04/03/2025?
How much is 1,000 EUR in USD? | How much is 1.000 EUR in USD?
How much is 100 EUR in USD? | How much is 100 USD in EUR?
Convert 100 euros to dollars for me please. | Convert 100 dollars to euros for me please.
Is my application for the loan approved? | Is my application for the loan rejected?
How do I turn the heating on? | How do I turn the heating off?
How do I turn up the heating? | How do I turn down the heating?
How do I log into my account? | How do I log out of my account?
Is it free for students? | Is it free for all students?
Do I have the first invoice? | Do I have the last invoice?
Do I only need a passport? | Do I need a passport?
Do I need a passport or a visa? | Do I need a passport and a visa?
Is the shop open until 5 pm? | Is the shop open from 5 pm?
Do I pay tax if I sell my house? | Do I pay tax unless I sell my house?
Can I pay later? | Can I pay now?
What is the fee per month? | What is the fee per year?
Has my order been shipped? | Has my order been paid?
Who called Anna? | Who did Anna call?
Who does Anna manage? | Who manages Anna?
Why does Anna like Ben? | Why does Ben like Anna?
What is the capital of Australia? | What is the capital of Austria?
What is the dose for adults? | What is the dose for infants?
What happens when I cancel before the trial ends? | What happens when I cancel after the trial ends?
Is A larger than B? | Is B larger than A?
I want a refund. | I do not want a refund.
I want to cancel my order. | I don't want to cancel my order.
Can I get my money back? | Can I get your money back?
Is this his account? | Is this her account?
Is this her account? | Is this the account?
Is the price before the delivery fixed? | Is the delivery price before fixed?
Wer zahlt die Miete? | Wem zahle ich die Miete?
Kann ich den Vertrag kündigen? | Kann ich den Vertrag nicht kündigen?
Wie melde ich mich an? | Wie melde ich mich ab?
Wie stelle ich das Licht an? | Wie stelle ich das Licht aus?
Wie fahre ich von Bonn nach Köln? | Wie fahre ich von Köln nach Bonn?
Kann ich vor dem 3. Mai zahlen? | Kann ich nach dem 3. Mai zahlen?
Was kostet das Paket mit Versicherung? | Was kostet das Paket ohne Versicherung?
Der Hund beißt den Mann. Was ist zu tun? | Den Hund beißt der Mann. Was ist zu tun?
Kann ich Sie anrufen? | Können Sie mich anrufen?
Ist das Ihr Konto? | Ist das mein Konto?
Ist das ihr Konto? | Ist das sein Konto?
Ist die Rechnung bezahlt? | Ist die Rechnung unbezahlt?
Was kostet 1.000 Stück? | Was kostet 1,000 Stück?
Muss ich zahlen? | Kann ich zahlen?
Wann war die Lieferung? | Wann ist die Lieferung?
Warum hat der Mieter den Vermieter verklagt? | Warum hat der Vermieter den Mieter verklagt?
¿Pedro ama a María? | ¿María ama a Pedro?
какой курс доллара | какой курс евро
Is it 5 mg? | Is it 5 µg?
What is the price of the 2 m² panel? | What is the price of the 2 m panel?
Can I change my name to Mark? | Can I change my name from Mark?
What does "may" mean? | What does "must" mean?
What does "not" mean? | What does "no" mean?
Is there a train in the morning? | Is there a train in the evening?
Are you open on May 1? | Are you open on June 1?
How do I save a file? | How do I save a file again?
How do I undo? | How do I redo?
Can I pay in? | Can I pay out?
Should I sell my shares? | Should I hold my shares?
How long until my card arrives? | How long after my card arrives?
Is my flight on time? | Is my flight late?
Who do I contact? | Who contacts me?
Do I owe you money? | Do you owe me money?
Do I have to sign? | Do I have a sign?
How do I add John to Mary's account? | How do I add Mary to John's account?
How do I remove an admin from a team? | How do I remove a team from an admin?
How do I switch to French from German? | How do I switch to German from French?
How do I change a user to an admin? | How do I change an admin to a user?
How do I connect a user to a device? | How do I connect a device to a user?
How do I convert a PDF to Word? | How do I convert Word to a PDF?
How do I export SAP data to Excel? | How do I export Excel data to SAP?
Can I transfer a booking to a refund? | Can I transfer a refund to a booking?
Will you cancel my order? | Did you cancel my order?
Would you cancel my order? | Did you cancel my order?
Is there an agent for the customer? | Is there a customer for the agent?
I have paid. What now? | I have not paid. What now?
I am over 18. Can I apply? | I am under 18. Can I apply?
The price is high. Why? | The price is low. Why?
how do i sue my boss | how does my boss sue me
How do I get it? | How do you get it?
Is the manager my friend? | Is my manager the friend?
Do children pay? | Do I pay for children?
Is payment due? | Is my due paid?
What do you change? | What changes you?
Can a man open an account? | Can I open an account?
Kann man hier parken? | Kann er hier parken?
Is the data mine? | Is the data my?
How do I get a loan for my house? | How do I get a loan on my house?
Do you sell the book? | Do you book the sale?
Is there a fee for cash? | Is there a fee without cash?
Can I add my wife to my account? | Can I add my account to my wife?
What is the best way to pay? | What is the worst way to pay?
What is the best way to lose weight? | What is the fastest way to lose weight?
What is the first step to start? | What is the last step to start?
Is it the right form? | Is it the left form?
Turn right at the light? | Turn left at the light?
How do I get to the right? | How do I get the right?
How old is the account? | How big is the account?
Wie alt ist das Konto? | Wie groß ist das Konto?
How fast is the line? | How long is the line?
Who owns the account? | Whose is the account?
Is the price with tax? | Is the price without tax?
What do I pay with tax? | What do I pay in tax?
Is the refund on the card? | Is the refund off the card?
Can I pay in 3 months? | Can I pay for 3 months?
Do you deliver in 2 hours? | Do you deliver for 2 hours?
Can I book for a child? | Can I book with a child?
Is the alarm at night? | Is the alarm by night?
Can I return to the shop? | Can I return the shop?
How do I write to a customer? | How do I write about a customer?
How do I report to my manager? | How do I report my manager?
How do I complain to the agent? | How do I complain about the agent?
How do I pay to the company? | How do I pay for the company?
Can I register as a company? | Can I register a company?
Can I apply for a manager? | Can I apply to a manager?
Do I work for the bank? | Do I work with the bank?
Can I travel with my passport? | Can I travel to my passport?
How do I invest in the fund? | How do I invest for the fund?
Can I vote for the board? | Can I vote on the board?
Is the invoice to the customer? | Is the invoice by the customer?
Is this the invoice for the supplier? | Is this the invoice by the supplier?
Is it a letter to my lawyer? | Is it a letter by my lawyer?
Was I paid by the company? | Was I paid for the company?
Was the fee paid by the tenant? | Was the fee paid to the tenant?
Do you have an open position? | Is the position open?
Gibt es offene Stellen? | Sind die Stellen offen?
Wann kann ich zahlen? | Wann muss ich zahlen?
Kann ich den Kunden anrufen? | Kann der Kunde anrufen?
Wie schreibe ich dem Kunden? | Wie schreibt der Kunde?
Kann ich bei der Bank zahlen? | Kann ich für die Bank zahlen?
Kann ich auf Rechnung kaufen? | Kann ich die Rechnung kaufen?
Kann ich in der Schweiz zahlen? | Kann ich für die Schweiz zahlen?
Ist der Preis mit Steuer? | Ist der Preis ohne Steuer?
Ich habe noch kein Konto. Was nun? | Ich habe noch ein Konto. Was nun?
Wie komme ich zum Bahnhof? | Wie komme ich vom Bahnhof?
Ist das Paket da? | Ist das Paket weg?
Wer ruft mich an? | Wen rufe ich an?
Wie rufe ich an? | Wie rufe ich auf?
Soll ich zahlen? | Kann ich zahlen?
Habe ich gezahlt? | Zahle ich?
Ist das Konto gesperrt? | Sperrt das Konto?
Wie viel kostet 1 kg? | Wie viel kostet 10 kg?
Sind Kinder kostenlos? | Sind Kinder nicht kostenlos?
Kostet das mehr? | Kostet das weniger?
Wie hoch ist mein Limit? | Wie hoch ist dein Limit?
Wie hoch ist Ihr Limit? | Wie hoch ist ihr Limit?
"""

SAME = """
How do I reset my password? | how can i reset my password
How do I reset my password? | Hi, please tell me how I can reset my password
Is my order shipped? | Is my order shipped ?
How do I log in to my account? | How can I sign in to my account?
Turn notifications off: how do I do that? | Turn notifications off: how do I do that?
What's the price of the Pro plan? | How much does the Pro plan cost?
Can I pay with PayPal? | Is it possible to pay by PayPal?
Wie kann ich mein Konto löschen? | Wie lösche ich mein Konto?
Wo finde ich meine Rechnungen? | Wo kann ich meine Rechnung finden?
café crème, please: how much is it? | café crème, please: how much is it?
Do you have a student discount? | Is there a student discount?
Can a minor open the account? | May minors open the account?
How do I turn off the alarm? | How do I turn the alarm off?
I want to delete my account. | How do I delete my account?
How do I change the limit for transfers? | How do I change the transfer limit?
Is it possible to pay by card? | Can I pay with a card?
Why didn't my order arrive? | Why did my order not arrive?
What is 15 % of 1,000? | What is 15 percent of 1000?
Kann man mit Karte zahlen? | Kann ich mit Karte bezahlen?
Wie melde ich mich an? | Wie kann ich mich anmelden?
Gibt es Parkplätze? | Haben Sie Parkplätze?
¿dónde está mi pedido? | ¿Dónde está mi pedido?
"""

OPPOSITES = """
buy sell; open close; activate deactivate; enable disable; accept reject; increase decrease; start
stop; lock unlock; import export; send receive; win lose; lend borrow; arrive depart; add remove;
approve deny; upload download; install uninstall; connect disconnect; show hide; push pull
"""
PLACES = ["Paris", "Rome", "Oslo", "Berlin", "Norway", "Sweden", "Lisbon", "Zürich"]
FRAMES = (
    "How do I {} my plan?", "Can I {} the file?", "Why did you {} it?", "When must I {} the form?",
    "I want to {} my account.",
)  # fmt: skip


def pairs(block: str) -> list[tuple[str, ...]]:
    return [tuple(line.split(" | ")) for line in block.strip().split("\n")]


@pytest.mark.parametrize(("one", "other"), pairs(OTHER))
def test_texts_that_ask_something_else_differ(one: str, other: str) -> None:
    assert difference(read(one), read(other))
    assert difference(read(other), read(one))


@pytest.mark.parametrize(("one", "other"), pairs(SAME))
def test_texts_that_ask_the_same_do_not_differ(one: str, other: str) -> None:
    assert difference(read(one), read(other)) == ""
    assert difference(read(other), read(one)) == ""


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("two", [two.split() for two in OPPOSITES.replace("\n", " ").split(";")])
def test_opposites_differ(frame: str, two: list[str]) -> None:
    assert not same_question(frame.format(two[0]), frame.format(two[1]))


@pytest.mark.parametrize("there", PLACES)
@pytest.mark.parametrize("here", PLACES)
def test_there_and_back_differ(here: str, there: str) -> None:
    way = f"How long is the flight from {here} to {there}?"
    back = f"How long is the flight from {there} to {here}?"

    assert same_question(way, back) is (here == there)


def test_every_changed_digit_differs() -> None:
    base = "Where is invoice 4711-A of 2024-05-03 over 1,250.00 EUR?"
    digits = [i for i, c in enumerate(base) if c.isdigit()]

    changed = [base[:i] + str((int(base[i]) + 1) % 10) + base[i + 1 :] for i in digits]

    assert [text for text in changed if same_question(base, text)] == []


def test_a_negation_anywhere_differs() -> None:
    asked = "Is the new card valid for the old account of my company?"
    spaces = [i for i, letter in enumerate(asked) if letter == " "]

    denied = [f"{asked[:i]} not{asked[i:]}" for i in spaces]

    assert [text for text in denied if same_question(asked, text)] == []


def test_two_words_in_each_others_place_differ() -> None:
    base = "Does the bank of the buyer pay the fee for the agent before the seller signs"
    words = base.split()
    nouns = [
        i for i, word in enumerate(words) if word in ("bank", "buyer", "fee", "agent", "seller")
    ]

    for i in nouns:
        for j in nouns:
            swapped = list(words)
            swapped[i], swapped[j] = words[j], words[i]
            assert same_question(base, " ".join(swapped)) is (i == j)


def test_composed_and_decomposed_letters_are_one_spelling() -> None:
    assert same_question("Wo ist das Café in Köln?", "Wo ist das Cafe\u0301 in Ko\u0308ln?")
    assert not same_question("Is it 5 m² wide?", "Is it 5 m2 wide?")


def test_any_text_can_be_read_and_is_the_same_as_itself() -> None:
    rng = random.Random(4711)
    for _ in range(3000):
        letters = [
            rng.choice((rng.randrange(1, 127), rng.randrange(1, 0xD800), 32, 39)) for _ in range(30)
        ]
        text = "".join(map(chr, letters))

        assert difference(read(text), read(text)) == ""


@pytest.mark.parametrize("text", ["." * 1000, "a1-" * 333, "x@" * 500, "how is " * 140, "a'" * 500])
def test_repeated_marks_are_read_as_well(text: str) -> None:
    assert same_question(text, text)
