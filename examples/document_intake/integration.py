"""Document intake: what a file is, what it says, what kind of document that is, and who acts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

import splice
from document_intake.fields import Fields, read_fields
from document_intake.reader import DocumentReader
from document_intake.rule import kind_of
from document_intake.store import Store

# Below this probability a person looks; chosen on the training templates by `train.py`.
SURE: Final = 0.5
LEGIBLE: Final = 0.9
"""The mean chance of a scan's letters below which a person looks: then figures may be misread."""
MOST_WORDS: Final = 8000
"""Characters that the classifier sees."""

_NAMED: Final = {
    "pdf": "pdf", "png": "png", "jpg": "jpeg", "jpeg": "jpeg", "webp": "webp", "tif": "tiff",
    "tiff": "tiff", "bmp": "bmp", "gif": "gif", "docx": "docx", "html": "html", "htm": "html",
}  # fmt: skip

Kind = Literal["complaint", "contract", "cv", "delivery_note", "invoice", "other"]


class Upload(splice.Request):
    """A file that was stored, by the SHA-256 of its content."""

    document: Annotated[splice.Entity, Meta(pattern="^[0-9a-f]{64}$")]
    name: Annotated[str, Meta(min_length=1, max_length=255)]
    size: Annotated[int, Meta(ge=0)]
    uploaded_by: Annotated[str, Meta(max_length=255)] = ""


class Intake(splice.Reply):
    """What the document is, and what is to be done with it."""

    document: str
    type: str
    kind: Kind | None
    confidence: float | None
    action: Literal["accept", "review", "reject"]
    why: str
    fields: Fields
    excerpt: str


def by_words(context: Mapping[str, Any]) -> splice.Prediction:
    """The kind by lists of words; none where they tie."""
    return splice.Prediction(value=kind_of(context["words"])[0])


class DocumentIntake(splice.Integration):
    """Bring each uploaded document to whoever must act on it, and refuse what is none."""

    objective = splice.Objective(
        kpi="handled_without_a_person",
        unit="share of documents",
        baseline=0.0,
        target=0.6,
        due="2027-06-30",
    )
    risk = splice.Risk.LIMITED
    deadline = "60 s"  # a scan takes seconds, and waits for the one before it
    routes = [splice.Model("documents@champion"), splice.Rule(by_words)]
    truth = splice.Truth("kind", predicted="kind", positive=None, matures="7 d")
    review = splice.Review(
        when={"action": "review"},
        share="2 %",  # of those that were clear, to learn whether they were
        within="1 d",
        reasons=["wrong kind", "misread", "no document of ours"],
        outcome="kind",
        value="kind",
    )

    def __init__(self) -> None:
        self._reader = DocumentReader()
        # Where the files are is a matter of the machine, not of the declaration.
        self._store = Store(Path(os.environ.get("DOCUMENT_STORE", "documents")))  # noqa: TID251

    async def context(self, upload: Upload, look: splice.Lookup) -> dict[str, Any]:
        """What the file is and says. Its text is read apart from this process."""
        # A file that is not there fails the call, and the event comes again: the store may be late.
        read = await self._reader.read(self._store.path(upload.document))
        if read["sha256"] not in (None, upload.document):
            read["unread"] = "it is not the file that was uploaded"
        fields = read_fields(read["text"])
        return {
            **read,
            "words": read["text"][:MOST_WORDS].lower(),
            "fields": {name: getattr(fields, name) for name in fields.__struct_fields__},
        }

    def decide(
        self, upload: Upload, prediction: splice.Prediction, context: Mapping[str, Any]
    ) -> Intake:
        """Accept what is clear; reject what is no document; a person reviews everything else."""
        kind, sure = prediction.value, prediction.score
        fields = Fields(**context["fields"])
        why = context["refused"]
        action: Any = "reject" if why else "accept"
        if not why and (why := _doubt(upload, kind, sure, context)):
            action = "review"
        told = bool(context["text"])
        return Intake(
            document=upload.document,
            type=context["type"],
            kind=kind if told else None,
            confidence=None if sure is None or not told else round(sure, 4),
            action=action,
            why=why,
            fields=fields,
            excerpt=" ".join(context["text"].split())[:160],
        )


def _doubt(upload: Upload, kind: str | None, sure: float | None, context: Mapping[str, Any]) -> str:
    """Why a person should look; empty where nothing speaks for it."""
    fields, named = context["fields"], _NAMED.get(upload.name.rpartition(".")[2].lower())
    if context["unread"]:
        return context["unread"]
    if named is not None and named != context["type"]:
        return f"its name says {named}, its content {context['type']}"
    if kind is None or kind == "other":
        return "it is of no known kind"
    if sure is None:
        return "the model was away, and a rule gives no probability"
    if sure < SURE:
        return f"it may be a {kind.replace('_', ' ')}, and may not"
    if context["legible"] is not None and context["legible"] < LEGIBLE:
        return "it is hard to read"
    if kind == "invoice" and not (fields["number"] and fields["total"]):
        return "no number or no total could be read"
    return ""
