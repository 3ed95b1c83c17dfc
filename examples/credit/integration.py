"""Credit decision: the model decides, a scorecard answers when the model is away."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

import splice
from credit.policy import Thresholds
from credit.rule import default_probability

# Chosen on the training part; `train.py` prints them, and a test compares.
THRESHOLDS = Thresholds(approve=0.15, decline=0.37)


class Application(splice.Request):
    """A loan application. A value outside these types never reaches the model."""

    applicant: splice.Entity
    checking_account: Literal["overdrawn", "under_200_dm", "200_dm_or_more", "no_account"]
    duration_months: Annotated[int, Meta(ge=4, le=72)]
    credit_history: Literal[
        "no_credits_or_all_repaid",
        "all_repaid_at_this_bank",
        "repaid_duly_until_now",
        "delays_in_the_past",
        "critical_or_credits_elsewhere",
    ]
    purpose: Literal[
        "car_new",
        "car_used",
        "furniture_equipment",
        "radio_television",
        "domestic_appliances",
        "repairs",
        "education",
        "retraining",
        "business",
        "other",
    ]
    amount_dm: Annotated[int, Meta(ge=250, le=18424)]
    savings: Literal[
        "unknown_or_none", "under_100_dm", "100_to_500_dm", "500_to_1000_dm", "1000_dm_or_more"
    ]
    employed_since: Literal[
        "unemployed", "under_1_year", "1_to_4_years", "4_to_7_years", "7_years_or_more"
    ]
    installment_rate_class: Annotated[int, Meta(ge=1, le=4)]
    other_parties: Literal["none", "co_applicant", "guarantor"]
    residence_class: Annotated[int, Meta(ge=1, le=4)]
    property: Literal[
        "unknown_or_none", "car_or_other", "savings_plan_or_life_insurance", "real_estate"
    ]
    other_installment_plans: Literal["none", "stores", "bank"]
    housing: Literal["for_free", "rent", "own"]
    credits_at_this_bank: Annotated[int, Meta(ge=1, le=4)]
    job: Literal[
        "unemployed_or_unskilled_non_resident",
        "unskilled_resident",
        "skilled",
        "management_or_self_employed",
    ]
    telephone: Literal["none", "registered"]


class CreditDecision(splice.Reply):
    """What the bank does: approve, have a person look, or decline."""

    default_probability: float
    action: Literal["approve", "review", "decline"]


class Credit(splice.Integration):
    """Decide loan applications by the chance that the loan is not repaid."""

    name = "credit-decision"
    objective = splice.Objective(
        kpi="cost_per_application",
        unit="EUR",
        baseline=192.0,  # a person reviews every application
        target=140.0,
        due="2027-12-31",
        outcome="defaulted",
    )
    truth = splice.Truth("defaulted", score="default_probability", matures="730 d")
    monitors = [splice.Monitor(share="fallbacks", above="10 %", window="1 h", least=50)]
    review = splice.Review(
        when={"action": "review"},
        within="2 d",
        reasons=["income proven", "guarantor found", "debts not told", "wrong figures"],
    )
    risk = splice.Risk.HIGH
    deadline = "200 ms"
    routes = [splice.Model("credit@champion"), splice.Rule(default_probability)]

    def decide(self, application: Application, prediction: splice.Prediction) -> CreditDecision:
        """The action by the thresholds."""
        # Without a probability nothing speaks for the applicant: never approve by default.
        probability = 1.0 if prediction.score is None else prediction.score
        return CreditDecision(probability, THRESHOLDS.action(probability))
