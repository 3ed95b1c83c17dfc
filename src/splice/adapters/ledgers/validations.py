"""Validations and approvals in SQL."""

from __future__ import annotations

import msgspec
from sqlalchemy import insert, select

from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.tables import approvals, validations
from splice.core.validation import Approval, Validation


class SqlValidations:
    """A ValidationStore in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_validation(self, validation: Validation) -> None:
        """Store it, durably; the very same one is stored once."""
        values = {
            "digest": validation.digest,
            "model": validation.model,
            "version": validation.version,
            "at_us": validation.at_us,
            "body": msgspec.json.encode(validation).decode(),
        }
        with self._database.write() as connection:
            connection.execute(self._database.insert_new(validations), values)

    def validations(self, model: str, version: int | None = None) -> list[Validation]:
        """Of one version, or of all versions of a model; newest first."""
        query = select(validations.c.body).where(validations.c.model == model)
        if version is not None:
            query = query.where(validations.c.version == version)
        newest = (validations.c.at_us.desc(), validations.c.digest)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(*newest)).scalars()
            return [msgspec.json.decode(body, type=Validation) for body in rows]

    def add_approval(self, approval: Approval) -> None:
        """Store it, durably."""
        body = msgspec.json.encode(approval).decode()
        with self._database.write() as connection:
            connection.execute(insert(approvals).values(validation=approval.validation, body=body))

    def approvals(self, validation: str) -> list[Approval]:
        """Approvals of a validation, by its digest; oldest first."""
        query = select(approvals.c.body).where(approvals.c.validation == validation)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(approvals.c.id)).scalars()
            return [msgspec.json.decode(body, type=Approval) for body in rows]
