"""The document example: files of every form are read, and odd ones get an answer, not a crash."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

import splice
from document_intake import corpus, fields, integration, samples, train, uploads
from document_intake.reader import DocumentReader
from document_intake.rule import kind_of
from document_intake.store import Store

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of a training, and its report."""
    folder = tmp_path_factory.mktemp("documents")
    return folder, train.main(folder)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "documents")


def kept(store: Store, content: bytes) -> str:
    with store.incoming() as incoming:
        incoming.write(content)
        return incoming.keep()


# The classifier


def test_training_learns_kinds_of_templates_that_it_never_saw(
    trained: tuple[Path, dict[str, Any]],
) -> None:
    _, report = trained
    known, held_out = corpus.split(corpus.templates())

    assert not {one.name for one in known} & {one.name for one in held_out}
    assert report["held_out"]["templates"] == len(held_out) == 18
    assert report["held_out"]["accuracy"] > 0.85
    assert report["held_out"]["accuracy_of_sure"] > 0.93
    assert report["held_out"]["accuracy"] > (
        report["held_out_rule"]["answered"] * report["held_out_rule"]["accuracy_of_answered"]
    )
    assert report["export_parity"] < 1e-5


def test_the_declared_threshold_is_the_one_that_training_chose(
    trained: tuple[Path, dict[str, Any]],
) -> None:
    assert trained[1]["threshold"] == integration.SURE


def test_the_readme_tells_the_figures_that_training_measures(
    trained: tuple[Path, dict[str, Any]],
) -> None:
    text = (EXAMPLES / "document_intake" / "README.md").read_text("utf-8")
    held_out, rule = trained[1]["held_out"], trained[1]["held_out_rule"]

    for figure in (
        f"| right | {held_out['accuracy']:.3f} |",
        f"| templates that come out mostly right | {held_out['templates_mostly_right']} of 18 |",
        f"| sure enough to go without a person | {held_out['sure']:.3f} |",
        f"| right of those | {held_out['accuracy_of_sure']:.3f} |",
        f"| rule: answers | {rule['answered']:.3f} |",
        f"| rule: right of those | {rule['accuracy_of_answered']:.3f} |",
    ):
        assert figure in text, figure


# Fields and rule


@pytest.mark.parametrize(
    ("text", "number", "day", "total", "currency"),
    [
        ("Invoice number: INV-2026-0417\nDate: 12 March 2026\nTotal due: EUR 343.44",
         "INV-2026-0417", "2026-03-12", "343.44", "EUR"),
        ("Invoice no. A-17-2, 01.02.2026. Subtotal EUR 1.00, grand total 1,234.50 €",
         "A-17-2", "2026-02-01", "1234.50", "EUR"),
        ("Delivery note R-2026-88 of 2026-13-45, then 2026-05-06", "R-2026-88", "2026-05-06",
         None, None),
        ("On 03/04/2026 we met. Nothing is owed.", None, None, None, None),
        ("Total: USD 1'000.00 and in the end total USD 12.00", None, None, "12.00", "USD"),
        ("", None, None, None, None),
    ],
)  # fmt: skip
def test_fields_are_what_is_clear_in_the_text(
    text: str, number: str | None, day: str | None, total: str | None, currency: str | None
) -> None:
    assert fields.read_fields(text) == fields.Fields(number, day, total, currency)


def test_the_rule_names_no_kind_where_two_tie_or_none_is_there() -> None:
    assert kind_of("invoice with vat, payable")[0] == "invoice"
    assert kind_of("invoice and agreement") == (None, 0.0)
    assert kind_of("once upon a time") == (None, 0.0)


# The store


@pytest.mark.parametrize(
    "key", ["../../etc/passwd", "a/../../b", "A" * 64, "0" * 63, "0" * 64 + "\n", ""]
)
def test_a_key_that_is_no_digest_leads_nowhere(store: Store, key: str) -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        store.path(key)


def test_a_link_out_of_the_store_is_refused(store: Store, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("not yours")
    key = kept(store, b"a file")
    store.path(key).unlink()
    (tmp_path / "documents" / key[:2] / key).symlink_to(secret)

    with pytest.raises(ValueError, match="leads out"):
        store.path(key)


def test_half_a_file_leaves_nothing_behind(store: Store, tmp_path: Path) -> None:
    with store.incoming() as incoming:
        incoming.write(b"half of it")

    assert list((tmp_path / "documents").iterdir()) == []


def test_the_same_content_has_the_same_key_and_is_there_once(store: Store, tmp_path: Path) -> None:
    first, second = kept(store, b"a file"), kept(store, b"a file")

    assert first == second == hashlib.sha256(b"a file").hexdigest()
    assert store.path(first).read_bytes() == b"a file"
    assert [one.name for one in (tmp_path / "documents").rglob("*") if one.is_file()] == [first]


# The reader that runs apart


@pytest.fixture
def script(tmp_path: Path) -> Any:
    """A reader that does as its code says."""

    def make(code: str, seconds: float = 60.0) -> DocumentReader:
        file = tmp_path / "reader.py"
        file.write_text("import json, os, sys, time\n" + code)
        return DocumentReader(seconds, [sys.executable, str(file)])

    return make


async def test_a_reader_that_hangs_is_killed_and_the_next_file_gets_another(
    script: Any, tmp_path: Path
) -> None:
    reader = script(
        "for line in sys.stdin:\n"
        "    if 'slow' in line: time.sleep(600)\n"
        "    print(json.dumps({'text': 'read'}), flush=True)\n",
        seconds=2.0,
    )

    slow = await reader.read(tmp_path / "slow")
    quick = await reader.read(tmp_path / "quick")

    assert slow["unread"] == "it could not be read within 2 s"
    assert quick == {"text": "read"}


async def test_a_file_that_kills_two_readers_is_given_to_a_person(
    script: Any, tmp_path: Path
) -> None:
    died = tmp_path / "died"
    reader = script(
        f"died = open({str(died)!r}, 'a')\n"
        "for line in sys.stdin:\n"
        "    if 'deadly' in line: died.write('x'); died.flush(); os._exit(3)\n"
        "    print(json.dumps({'text': 'read'}), flush=True)\n"
    )

    deadly = await reader.read(tmp_path / "deadly")
    harmless = await reader.read(tmp_path / "harmless")

    assert deadly["unread"] == "its reader died (exit 3)"
    assert died.read_text() == "xx"
    assert harmless == {"text": "read"}


async def test_a_reader_that_died_for_anothers_sake_is_no_fault_of_the_file(
    script: Any, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    reader = script(
        f"mark = {str(mark)!r}\n"
        "for line in sys.stdin:\n"
        "    if not os.path.exists(mark): open(mark, 'w').close(); os._exit(9)\n"
        "    print(json.dumps({'text': 'read'}), flush=True)\n"
    )

    assert await reader.read(tmp_path / "any") == {"text": "read"}


# The integration in this process, with the real models


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def intake(
    trained: tuple[Path, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Any]:
    """Asks about a sample, through the whole way of a call."""
    project = tmp_path_factory.mktemp("intake")
    (project / "models").mkdir()
    shutil.copy(trained[0] / "documents.onnx", project / "models")
    store = Store(project / "documents")
    patch = pytest.MonkeyPatch()
    patch.setenv("DOCUMENT_STORE", str(project / "documents"))
    async with splice.App(integration.DocumentIntake, project=project) as app:

        async def ask(sample: samples.Sample, **changed: Any) -> Any:
            upload = {
                "document": kept(store, sample.content), "name": sample.name,
                "size": len(sample.content),
            }  # fmt: skip
            return await app.ask("document-intake", {**upload, **changed})

        yield ask
    patch.undo()


@pytest.mark.model
@pytest.mark.asyncio(loop_scope="module")
async def test_documents_in_every_form_are_read_and_told_apart(intake: Any) -> None:
    asked = samples.documents()

    answers = [json.loads((await intake(one)).record.reply) for one in asked]

    forms = {one.name.rpartition(".")[2] for one in asked}
    assert forms == {"pdf", "png", "docx", "txt", "html", "jpg"}
    sure = [
        (one.kind, answer["kind"])
        for one, answer in zip(asked, answers, strict=True)
        if answer["action"] == "accept"
    ]
    assert len(sure) >= 12
    assert sum(told == right for right, told in sure) >= len(sure) - 1
    assert all(answer["action"] != "reject" for answer in answers)
    assert all(answer["excerpt"] for answer in answers)
    read = {one.name: answer["fields"] for one, answer in zip(asked, answers, strict=True)}
    for name, text in samples.texts().items():
        if name.startswith("invoice"):  # what a scan says is what the text said
            (found,) = (read[key] for key in read if key.startswith(name.replace(" ", "-")))
            assert found == json.loads(json.dumps(_plain(fields.read_fields(text))))


def _plain(found: fields.Fields) -> dict[str, str | None]:
    return {name: getattr(found, name) for name in found.__struct_fields__}


@pytest.mark.model
@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_no_document_gets_an_answer_and_never_a_crash(intake: Any) -> None:
    answers = {}
    for one in samples.oddities():
        asked = await intake(one)
        assert asked.error is None, (one.name, asked.error)
        answers[one.name] = json.loads(asked.record.reply)

    told = {name: (answer["action"], answer["why"]) for name, answer in answers.items()}
    action, why = told.pop("invoice.pdf")
    assert (action, why[:34]) == ("reject", "files of this type are not taken (")
    assert told == {
        "empty.pdf": ("reject", "it is empty"),
        "corrupt.png": ("reject", "it is damaged (OSError)"),
        "broken.pdf": ("reject", "it is damaged (PdfStreamError)"),
        "bomb.png": ("reject", "it has more than 40,000,000 pixels"),
        "bomb.docx": ("reject", "it unpacks to more than can be read"),
        "blank.png": ("review", "no text was found in it"),
        "huge.txt": ("reject", "it has more than 10 MB"),
        "renamed.png": ("review", "its name says png, its content pdf"),
        "scanned.pdf": ("accept", ""),
    }
    assert answers["scanned.pdf"]["fields"]["total"] == answers["renamed.png"]["fields"]["total"]
    assert answers["blank.png"]["kind"] is None


@pytest.mark.asyncio(loop_scope="module")
async def test_a_file_that_is_not_there_fails_the_call_and_may_be_tried_again(intake: Any) -> None:
    asked = await intake(samples.Sample("a.txt", b"a", None), document="0" * 64)

    assert asked.error.code == "context_failed"
    assert "is not in the store" in str(asked.error)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_key_that_is_none_never_reaches_the_store(intake: Any) -> None:
    with pytest.raises(splice.SpliceError) as refused:
        await intake(samples.Sample("a.txt", b"a", None), document="../../etc/passwd")

    assert refused.value.code == "input_mismatch"


# The upload service


@pytest.fixture
def service(tmp_path: Path, store: Store) -> Iterator[uploads.Uploads]:
    database = f"sqlite:///{tmp_path}/uploads.db"
    made = uploads.Uploads(store, database, f"sqlite:///{tmp_path}/ledger.db")
    yield made
    made.close()


@pytest_asyncio.fixture
async def client(service: uploads.Uploads) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(uploads.application(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://intake") as made:
        yield made


def events(folder: Path) -> list[dict[str, Any]]:
    with sqlite3.connect(folder / "uploads.db") as database:
        rows = database.execute("SELECT aggregateid, type, payload FROM outbox").fetchall()
    database.close()
    assert all(kind == "DocumentUploaded" for _, kind, _ in rows)
    return [{"key": key, **json.loads(payload)} for key, _, payload in rows]


async def test_an_upload_is_stored_and_told_in_one_event(
    client: httpx.AsyncClient, store: Store, tmp_path: Path
) -> None:
    answer = await client.post("/documents?name=a.txt&by=anna", content=b"words")

    key = hashlib.sha256(b"words").hexdigest()
    assert (answer.status_code, answer.json()) == (202, {"document": key, "new": True})
    assert store.path(key).read_bytes() == b"words"
    assert events(tmp_path) == [
        {"key": key, "document": key, "name": "a.txt", "size": 5, "uploaded_by": "anna"}
    ]
    found = (await client.get(answer.headers["location"])).json()
    assert (found["name"], found["decision"]) == ("a.txt", None)


async def test_the_same_file_again_is_the_same_document_and_no_second_event(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    answers = await asyncio.gather(
        *(client.post(f"/documents?name={name}.txt", content=b"words") for name in "abcd")
    )

    assert {answer.status_code for answer in answers} == {202}
    assert sorted(answer.json()["new"] for answer in answers) == [False, False, False, True]
    assert len(events(tmp_path)) == 1


async def test_without_its_event_there_is_no_upload_and_the_next_try_makes_both(
    client: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(uploads.outbox, "add", broken)
        with pytest.raises(OSError, match="full"):
            await client.post("/documents?name=a.txt", content=b"words")
    assert events(tmp_path) == []

    answer = await client.post("/documents?name=a.txt", content=b"words")

    assert answer.json()["new"] is True
    assert len(events(tmp_path)) == 1


@pytest.mark.parametrize(
    ("query", "size", "status"),
    [
        ("", 1, 400),
        ("?name=", 1, 400),
        ("?name=a%00b", 1, 400),
        ("?name=..%2F", 1, 400),
        (f"?name={'n' * 256}", 1, 400),
        ("?name=a.txt", (10 << 20) + 1, 413),
        ("?name=a.txt", (64 << 20) + 1, 413),
        ("?name=a.txt", 10 << 20, 202),
        ("?name=a.txt", 0, 202),
    ],
)
async def test_what_is_too_large_or_has_no_name_is_refused_and_leaves_nothing(
    client: httpx.AsyncClient, tmp_path: Path, query: str, size: int, status: int
) -> None:
    answer = await client.post(f"/documents{query}", content=bytes(size))

    assert answer.status_code == status
    assert [one["document"] for one in events(tmp_path)] == (
        [hashlib.sha256(bytes(size)).hexdigest()] if status == 202 else []
    )
    files = [one for one in (tmp_path / "documents").rglob("*") if one.is_file()]
    assert len(files) == (status == 202)


async def test_a_path_in_a_files_name_is_not_kept(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    await client.post("/documents?name=..%2F..%2Fetc%2Fpasswd", content=b"1")
    await client.post("/documents?name=C:%5Cwindows%5Ca.txt", content=b"2")

    assert [one["name"] for one in events(tmp_path)] == ["passwd", "a.txt"]


async def test_a_document_that_nobody_uploaded_is_not_found(client: httpx.AsyncClient) -> None:
    assert (await client.get(f"/documents/{'0' * 64}")).status_code == 404
