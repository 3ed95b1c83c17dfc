"""Reviews over HTTP: opened by the declaration, decided once, each mistake with its own answer."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
from reviews_house import MODEL, ask, project, review_of, until, verdict

from splice.testing.project import Server

needs_shap = pytest.mark.skipif(
    importlib.util.find_spec("shap") is None, reason="shap is not installed"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with project(tmp_path_factory.mktemp("reviews") / "p", route=MODEL).serve() as running:
        yield running


def test_a_call_that_the_declaration_names_waits_for_a_person(server: Server) -> None:
    paid, dear = ask(server, 10), ask(server, 900)

    one = review_of(server, dear)

    assert (one["integration"], one["state"], one["why"]) == ("claims", "open", "action is review")
    assert 0 < one["left_s"] <= 4 * 3600
    assert server.get(f"/v1/reviews?call_id={paid}").json["reviews"] == []
    whole = server.get(f"/v1/reviews/{one['id']}").json
    assert whole["call"]["reply"]["action"] == "review"
    assert one["id"] in [each["id"] for each in server.get("/v1/reviews").json["reviews"]]


def test_an_override_becomes_the_outcome_of_the_call_and_is_final(server: Server) -> None:
    call_id = ask(server, 800)
    review_id = review_of(server, call_id)["id"]
    right = {"chance": 0.1, "action": "pay"}

    done = verdict(server, review_id, "override", reply=right, reason="wrong amount", note="seen")

    assert (done.status, done.json["state"]) == (200, "decided")
    assert done.json["verdicts"][0]["reply"] == right
    (outcome,) = server.get(f"/v1/calls/{call_id}").json["outcomes"]
    assert (outcome["name"], outcome["value"], outcome["source"]) == ("action", "pay", "review")
    again = verdict(server, review_id, "approve")
    assert (again.status, again.json["code"]) == (409, "overtaken")
    new = server.post(f"/v1/reviews/{review_id}/again", {"why": "it was fraud after all"})
    assert (new.status, new.json["corrects"]) == (201, review_id)


RIGHT = {"chance": 1.0, "action": "pay"}
BAD: list[tuple[dict[str, object], str]] = [
    ({"choice": "aprove"}, "review.choice"),
    ({"choice": "approve", "reply": RIGHT}, "review.reply"),
    ({"choice": "override", "reason": "fraud"}, "review.reply"),
    ({"choice": "override", "reason": "fraud", "reply": {"chance": 1.0, "action": "burn"}},
     "claims.reply.action"),
    ({"choice": "override", "reason": "mood", "reply": RIGHT}, "review.reason"),
    ({"choice": "override", "reply": RIGHT}, "review.reason"),
    ({"choice": "escalate"}, "review.reason"),
    ({"choice": "escalate", "reason": " "}, "review.reason"),
    ({"choice": "override", "reason": "fraud", "reply": None}, "claims.reply"),
    ({"choice": "approve", "by": "somebody else"}, "review.by"),
]  # fmt: skip


def test_a_verdict_that_is_not_whole_says_what_is_missing(server: Server) -> None:
    review = review_of(server, ask(server, 700))
    path = f"/v1/reviews/{review['id']}"

    answers = [server.post(f"{path}/verdict", said) for said, _ in BAD]
    same = server.get(path).json["call"]["reply"]
    nothing_new = verdict(server, review["id"], "override", reply=same, reason="fraud")

    assert [(one.status, one.json["where"]) for one in answers] == [(422, at) for _, at in BAD]
    assert (nothing_new.status, nothing_new.json["mend"]) == (422, "approve it")
    assert server.get(path).json["review"]["state"] == "open"


def test_a_page_of_another_site_decides_nothing(server: Server) -> None:
    review_id = review_of(server, ask(server, 700))["id"]
    kind = {"content-type": "text/plain"}

    answer = server.ask("POST", f"/v1/reviews/{review_id}/verdict", {"choice": "approve"}, **kind)

    assert answer.status == 415


def test_a_review_is_claimed_and_let_go(server: Server) -> None:
    review_id = review_of(server, ask(server, 700))["id"]

    held = server.post(f"/v1/reviews/{review_id}/claim", None).json
    free = server.ask("DELETE", f"/v1/reviews/{review_id}/claim").json

    assert (held["state"], held["holder"]) == ("claimed", "anyone")
    assert (free["state"], "holder" in free) == ("open", False)


def test_what_is_asked_wrongly_is_told(server: Server) -> None:
    nothing = "00000000-0000-7000-8000-000000000000"
    for path, status in (
        (f"/v1/reviews/{nothing}", 404), ("/v1/reviews/x", 404), ("/v1/reviews?limit=0", 422),
        ("/v1/reviews?sort=up", 422), (f"/v1/reviews?after={nothing}", 404),
        ("/v1/reviews?state=asleep", 422), ("/v1/reviews?call_id=", 422),
        ("/v1/reviews?call_id=1&call_id=2", 422),
    ):  # fmt: skip
        assert server.get(path).status == status, path


def test_pages_of_the_list_follow_one_another(server: Server) -> None:
    asked = [ask(server, 700) for _ in range(3)]
    ids = {review_of(server, call_id)["id"] for call_id in asked}

    found, after = list[str](), ""
    while True:
        page = server.get(f"/v1/reviews?limit=2{after}").json
        found += [one["id"] for one in page["reviews"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"

    assert ids <= set(found)
    assert len(found) == len(set(found))


@needs_shap
def test_the_answer_of_a_model_is_taken_apart_by_what_it_read(server: Server) -> None:
    for n in range(12):
        ask(server, 100.0 + 20 * n, age=20.0 + 3 * n, damage=float(n))
    call_id = ask(server, 990, age=40.0, damage=3.0)
    review_id = review_of(server, call_id)["id"]
    path = f"/v1/reviews/{review_id}/explanation"

    said = until(lambda: server.get(path).json, 120)

    rests = said["attributions"]
    assert rests.get("why", "") == ""
    adds = {one["feature"]: one["adds"] for one in rests["parts"]}
    assert adds["amount"] > 0.1
    assert adds["damage"] == pytest.approx(0, abs=1e-9)
    assert rests["base"] + sum(adds.values()) == pytest.approx(rests["answer"], abs=1e-6)
    assert rests["answer"] == pytest.approx(rests["recorded"], abs=1e-5)
    assert (rests["of"], rests["model"]) == ("score", "claims@1")
    assert len(said["similar"]) == 5
    assert [one["distance"] for one in said["similar"]] == sorted(
        one["distance"] for one in said["similar"]
    )
    assert said["history"]
    assert said["told"] is None


def test_metrics_say_what_waits(server: Server) -> None:
    review_of(server, ask(server, 700))

    def told() -> bool:
        text = server.get("/metrics").body.decode()
        return 'splice_reviews_open{integration="claims"}' in text

    assert until(told)


def test_what_a_rule_said_is_not_taken_apart_and_says_so(tmp_path: Path) -> None:
    with project(tmp_path / "p").serve() as running:
        review_id = review_of(running, ask(running, 700))["id"]
        said = running.get(f"/v1/reviews/{review_id}/explanation").json

    assert "a rule answered" in said["attributions"]["why"]
