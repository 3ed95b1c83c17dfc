"""The upload service: takes a file, keeps it, and says so in an event.

    python -m document_intake.uploads --store documents --database sqlite:///uploads.db \
        --results sqlite:///.splice/ledger.db --port 8080
    uvicorn --factory document_intake.uploads:create    # the same, as the environment says

It is an application as any: it knows the columns of the outbox and nothing else of Splice. The row
of the upload and its event are written in one transaction (`splice.outbox`), and the file is on the
disk before: there is no event without a file, and no upload without an event, whenever the power
goes. `splice relay` sends the event on. The id of a document is the SHA-256 of its content, so who
uploads a file again, or again because no answer came, gets the same document, and no second event.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any, Final

import uvicorn
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.pool import NullPool
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from document_intake.store import Store
from splice import outbox

MAX_BYTES: Final = 10 << 20
MOST_HEARD: Final = 64 << 20
"""Who sends a file that is too large is heard to its end, to be told so; not who sends a flood."""
_UPLOADS: Final = """
CREATE TABLE uploads (
    document varchar(64) PRIMARY KEY,
    name varchar(255) NOT NULL,
    size bigint NOT NULL,
    uploaded_by varchar(255) NOT NULL,
    at_us bigint NOT NULL
)
"""


class Uploads:
    """The service's own tables, and where its files are.

    Args:
        store: Where files are kept.
        database: URL of the service's database.
        results: URL of the database that the decisions are written to.
        table: The table there.
    """

    def __init__(self, store: Store, database: str, results: str, table: str = "documents") -> None:
        self.store = store
        self._database, self._results = _engine(database), _engine(results)
        self._table = table
        self._decision = text(f"SELECT value FROM {table} WHERE key = :key ORDER BY at_us DESC")  # noqa: S608
        self._create()

    def _create(self) -> None:
        dialect: Any = self._database.dialect.name
        with self._database.begin() as connection:
            if inspect(connection).has_table("uploads"):
                return
            for statement in (_UPLOADS, *outbox.ddl(dialect).split(";")):
                if statement.strip():
                    connection.execute(text(statement))

    def add(self, document: str, name: str, size: int, uploaded_by: str) -> bool:
        """The upload and its event, in one transaction; False where it was there already."""
        event = {"document": document, "name": name, "size": size, "uploaded_by": uploaded_by}
        with self._database.begin() as connection:
            new = connection.execute(
                text(
                    "INSERT INTO uploads VALUES (:document, :name, :size, :uploaded_by, :at_us) "
                    "ON CONFLICT DO NOTHING"
                ),
                {**event, "at_us": time.time_ns() // 1000},
            )
            if new.rowcount == 0:
                return False
            outbox.add(
                connection, aggregatetype="documents", aggregateid=document,
                type="DocumentUploaded", payload=event,
            )  # fmt: skip
        return True

    def find(self, document: str) -> dict[str, Any] | None:
        """The upload, and the decision if there is one."""
        with self._database.connect() as connection:
            row = connection.execute(
                text("SELECT * FROM uploads WHERE document = :document"), {"document": document}
            ).one_or_none()
        return None if row is None else {**row._mapping, "decision": self._decided(document)}

    def _decided(self, document: str) -> Any:
        with self._results.connect() as connection:
            if not inspect(connection).has_table(self._table):  # no decision was ever made
                return None
            value = connection.execute(self._decision, {"key": document}).scalar()
        return None if value is None else json.loads(value)

    def close(self) -> None:
        """Let go of the databases."""
        self._database.dispose()
        self._results.dispose()


def _engine(url: str) -> Engine:
    # SQLAlchemy's word for PostgreSQL names psycopg2 by itself; the ledger's driver is psycopg.
    return create_engine(url.replace("postgresql://", "postgresql+psycopg://"), poolclass=NullPool)


def application(uploads: Uploads) -> Starlette:
    """`POST /documents?name=…` with the file as the body, and `GET /documents/ID`."""

    async def post(request: Request) -> JSONResponse:
        name = Path(request.query_params.get("name", "").replace("\\", "/")).name
        uploaded_by = request.query_params.get("by", "")  # of a session, in a real application
        texts = name + uploaded_by
        if not name.strip(".") or len(texts) > 255 or not texts.isprintable():
            return _problem(400, "name the file: POST /documents?name=invoice.pdf")
        size = 0
        with uploads.store.incoming() as incoming:
            try:
                async for part in request.stream():
                    size += len(part)
                    if size > MOST_HEARD:
                        break
                    if size <= MAX_BYTES:
                        incoming.write(part)
            except ClientDisconnect:  # half a file is none
                return _problem(400, "the file did not arrive whole")
            if size > MAX_BYTES:
                return _problem(413, f"a file may have {MAX_BYTES >> 20} MB at most")
            document = await asyncio.to_thread(incoming.keep)
        new = await asyncio.to_thread(uploads.add, document, name, size, uploaded_by)
        where = {"Location": f"/documents/{document}"}
        return JSONResponse({"document": document, "new": new}, 202, where)

    async def get(request: Request) -> JSONResponse:
        found = await asyncio.to_thread(uploads.find, request.path_params["document"])
        return _problem(404, "no such document") if found is None else JSONResponse(found)

    return Starlette(
        routes=[
            Route("/documents", post, methods=["POST"]),
            Route("/documents/{document}", get, methods=["GET"]),
        ]
    )


def _problem(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"status": status, "detail": detail}, status)


def create() -> Starlette:
    """The service as the environment says: where its files, its rows and the decisions are."""
    said = os.environ.get  # noqa: TID251
    return application(
        Uploads(
            Store(Path(said("DOCUMENT_STORE", "documents"))),
            said("UPLOADS_DATABASE", "sqlite:///uploads.db"),
            said("DOCUMENT_RESULTS", "sqlite:///.splice/ledger.db"),
        )
    )


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, default=Path("documents"))
    parser.add_argument("--database", default="sqlite:///uploads.db")
    parser.add_argument("--results", default="sqlite:///.splice/ledger.db")
    parser.add_argument("--port", type=int, default=8080)
    options = parser.parse_args()
    uploads = Uploads(Store(options.store), options.database, options.results)
    try:
        uvicorn.run(application(uploads), port=options.port, log_level="info")
    finally:
        uploads.close()


if __name__ == "__main__":
    main()
