"""The risk questionnaire: what answers come to, and what a declaration may say of them."""

from __future__ import annotations

import pytest

import splice
from splice.core.duties import PinnedAssessment, Tier
from splice.core.tiers import due, estimate
from splice.declare.assessment import Assessment, assessment_text, read_assessment
from splice.declare.law import eu_ai_act, frameworks

LAW = eu_ai_act()
NONE = PinnedAssessment(
    roles=("deployer",), practices=(), uses=(), products=(), transparency=(), profiling=False,
    decides="person", public_service=False, affected="Nobody",
)  # fmt: skip


def said(**more: object) -> PinnedAssessment:
    return PinnedAssessment(**{f: getattr(NONE, f) for f in NONE.__struct_fields__} | more)  # type: ignore[arg-type]


def read(risk: str = "high", **answers: object) -> tuple[PinnedAssessment | None, list[str]]:
    wrong: list[str] = []
    given = Assessment(**answers)  # type: ignore[arg-type]
    pinned = read_assessment(given, risk, lambda *told: wrong.append(": ".join(told)))
    return pinned, wrong


@pytest.mark.parametrize(
    ("answers", "tier", "point"),
    [
        ({}, Tier.MINIMAL, ""),
        ({"transparency": ("interacts",)}, Tier.LIMITED, "Art. 50(1)"),
        ({"uses": ("credit",)}, Tier.HIGH, "Annex III 5(b)"),
        (
            {"products": ("lifts",), "safety_component": True, "third_party": True},
            Tier.HIGH,
            "Annex I A",
        ),
        ({"practices": ("social_scoring",), "uses": ("credit",)}, Tier.PROHIBITED, "Art. 5(1)(c)"),
    ],
)
def test_answers_come_to_the_worst_of_their_grounds(
    answers: dict[str, object], tier: Tier, point: str
) -> None:
    found = estimate(said(**answers), LAW)

    assert found.tier is tier
    assert point in (found.grounds[0].point if found.grounds else "")
    assert found.is_certain


def test_the_law_has_the_dates_that_the_amendment_moved() -> None:
    days = {one.key: one.day for one in LAW.dates}

    assert days["annex_iii"] == "2027-12-02"
    assert days["annex_i"] == "2028-08-02"
    assert days["marking_existing"] == "2026-12-02"
    assert days["transparency"] == "2026-08-02"
    assert {one.source for one in LAW.dates} <= set(LAW.sources)
    assert "2026/1744" in LAW.amended


def test_a_use_of_annex_iii_counts_from_december_2027() -> None:
    ground = estimate(said(uses=("recruitment",)), LAW).grounds[0]

    assert ground.date is not None
    assert ground.date.day == "2027-12-02"


def test_a_derogation_counts_only_where_nobody_is_profiled() -> None:
    claimed = {"uses": ("credit",), "derogation": "narrow_task", "derogation_why": "It sorts."}

    assert estimate(said(**claimed, profiling=False), LAW).tier is Tier.MINIMAL
    assert estimate(said(**claimed, profiling=True), LAW).tier is Tier.HIGH
    unsaid = estimate(said(**claimed, profiling=None), LAW)
    assert unsaid.tier is Tier.HIGH
    assert "profiling" in unsaid.open


def test_a_product_is_high_until_it_is_answered_that_it_is_not() -> None:
    product = {"products": ("medical_devices",)}

    assert estimate(said(**product), LAW).tier is Tier.HIGH
    assert estimate(said(**product, safety_component=False), LAW).tier is Tier.MINIMAL
    assert estimate(said(**product, safety_component=True, third_party=False), LAW).tier is (
        Tier.MINIMAL
    )


def test_who_answers_nothing_is_told_what_is_open() -> None:
    found = estimate(PinnedAssessment(), LAW)

    assert found.tier is Tier.MINIMAL
    assert not found.is_certain
    assert {"practices", "uses", "products", "transparency"} <= set(found.open)


def test_a_fundamental_rights_assessment_is_for_credit_and_public_bodies() -> None:
    assert estimate(said(uses=("credit",)), LAW).fria
    assert not estimate(said(uses=("recruitment",)), LAW).fria
    assert estimate(said(uses=("recruitment",), public_service=True), LAW).fria
    assert not estimate(said(uses=("critical_infrastructure",), public_service=True), LAW).fria
    assert not estimate(said(uses=("credit",), roles=("provider",)), LAW).fria


def test_a_deployer_has_other_duties_than_a_provider() -> None:
    def articles(answers: PinnedAssessment) -> set[str]:
        found = estimate(answers, LAW)
        return {one.article for one in LAW.duties if due(one, found, answers)}

    deployer = articles(said(uses=("credit",)))
    provider = articles(said(uses=("credit",), roles=("provider",)))

    assert {"Art. 12", "Art. 14", "Art. 27", "Art. 73"} <= deployer
    assert "Art. 9" not in deployer
    assert {"Art. 9", "Art. 10", "Art. 11", "Art. 15", "Art. 72"} <= provider
    assert articles(NONE) == set()
    assert articles(said(transparency=("generates",))) == {"Art. 50"}


def test_a_prohibited_practice_is_a_mistake_of_the_declaration() -> None:
    _, wrong = read(practices=["emotions_at_work"])

    assert len(wrong) == 1
    assert "prohibited practice (Art. 5(1)(f)" in wrong[0]


def test_a_risk_lower_than_the_answers_come_to_is_a_mistake() -> None:
    _, wrong = read("limited", uses=["credit"])

    assert "answers that come to high" in wrong[0]
    assert "write risk = splice.Risk.HIGH" in wrong[0]
    assert read("high", uses=["credit"])[1] == []
    assert read("high", uses=[])[1] == []  # who promises more than he must is right


def test_a_derogation_wants_a_reason() -> None:
    _, wrong = read(uses=["credit"], derogation="preparatory", profiling=False)

    assert any("without a reason" in one for one in wrong)


@pytest.mark.parametrize(
    "answers",
    [
        {"uses": ["credits"]}, {"uses": "credit"}, {"roles": ["maker"]}, {"decides": "nobody"},
        {"profiling": "yes"}, {"affected": 3}, {"derogation": "none"},
    ],
)  # fmt: skip
def test_an_answer_that_the_questionnaire_does_not_know_is_named(
    answers: dict[str, object],
) -> None:
    _, wrong = read(**answers)

    assert next(iter(answers)) in wrong[0]
    assert "splice risk --questions" in wrong[0]


def test_answers_are_pinned_and_told_in_words() -> None:
    pinned, wrong = read(uses=["insurance", "credit"], products=[], profiling=True)

    assert wrong == []
    assert pinned is not None
    assert pinned.uses == ("credit", "insurance")  # the order of the law: no other digest
    assert assessment_text(pinned) == "uses credit, insurance; products none; profiling yes"
    assert splice.Assessment is Assessment


def test_each_framework_says_what_it_does_not_claim_and_maps_to_items_that_there_are() -> None:
    items = {item.key for duty in LAW.duties for item in duty.items}

    for frame in frameworks():
        assert frame.scope
        assert {one for control in frame.controls for one in control.items} <= items
    sizes = {one.key: len(one.controls) for one in frameworks()}
    assert sizes["iso_42001"] == 38
    assert sizes["nist_ai_rmf"] == 19
