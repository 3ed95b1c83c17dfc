"""Inference: integrations as models of the protocol, whichever wire it travels on."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from importlib import metadata

import msgspec

from splice.core.access import Principal
from splice.core.call import Record
from splice.core.errors import InputMismatch, SpliceError, UnknownRelease
from splice.engine.keyring import may_call
from splice.engine.line import Line
from splice.serve.oip.calls import Asker, Failure, RowCalls
from splice.serve.oip.forms import Form, Forms
from splice.serve.oip.rows import DETAILS
from splice.serve.wire import GatewayDesk

PLATFORM = "splice"
EXTENSIONS = ("binary_tensor_data", "model_repository")
"""What this server has beside the protocol itself, by the names that Triton gave them."""


class Inferred(msgspec.Struct):
    """What a request gets: the records of its rows, and which outputs of them."""

    form: Form
    names: Sequence[str]
    records: list[Record]


class RowLimits(msgspec.Struct, frozen=True):
    """Rows in one request at most, and calls at once in this process."""

    rows: int = 1024
    calls: int = 1000


class Inference:
    """The models of one process.

    Args:
        desk: The process behind it.
        limits: Bounds on a request.
    """

    def __init__(self, desk: GatewayDesk, limits: RowLimits) -> None:
        self.desk = desk
        self.max_rows = limits.rows
        self._forms = Forms()
        self._calls = RowCalls(desk, limits.calls)

    def line(self, principal: Principal, name: str, version: str = "") -> Line:
        """The live line that is meant; versions are numbers of releases.

        Raises:
            UnknownIntegration: Nothing of that name is live.
            NotAllowed: The key does not reach it.
            UnknownRelease: Another version of it is live.
        """
        line = self.desk.engine.line(name)
        may_call(principal, name)
        live = str(line.release.number)
        if version and version != live:
            raise UnknownRelease(
                f"{name}.versions.{version[:20]}",
                got="a release that is not live",
                promised=f"{live}, the one that is",
                mend="leave the version out to ask whichever is live",
            )
        return line

    def lines(self, principal: Principal) -> list[Line]:
        """The live lines that somebody may call, by name."""
        key = principal.key
        lines = sorted(dict(self.desk.engine.lines).values(), key=lambda line: line.name)
        return [line for line in lines if key is None or key.may_call(line.name)]

    def form(self, line: Line) -> Form:
        """The tensors that a line takes and gives."""
        return self._forms.of(line)

    async def infer(
        self,
        line: Line,
        bodies: Callable[[Form], list[bytes]],
        wanted: Sequence[str],
        asker: Asker,
    ) -> Inferred | Failure:
        """The replies to all rows.

        Args:
            line: The integration.
            bodies: Makes the JSON body of each row.
            wanted: Outputs that are asked for; all fields of the reply where none is named.
            asker: Who asks.

        Raises:
            RequestError: Nothing has run: an input, an output or a row is not what is declared.
            RefusedError: It may not run now.
        """
        form = self.form(line)
        try:
            names = _checked(form, wanted, line.name) if wanted else list(form.outputs)
            answered = await self._calls.answered(line, bodies(form), asker)
        except SpliceError as error:
            self.desk.engine.refused(line.name, error)
            raise
        return answered if isinstance(answered, Failure) else Inferred(form, names, answered)


@functools.cache
def version_of_product() -> str:
    """The installed version; empty where the product runs from a bare folder."""
    try:
        return metadata.version("splice-ai")
    except metadata.PackageNotFoundError:
        return ""


def trouble_of(line: Line) -> str:
    """Why a model is not ready; empty where it is."""
    if line.closed:
        return line.closed
    troubles = [step.withdrawn or step.unavailable for step in line.steps]
    return "; ".join(troubles) if troubles and all(troubles) else ""


def _checked(form: Form, wanted: Sequence[str], name: str) -> Sequence[str]:
    for at, one in enumerate(wanted):
        if one not in form.outputs and one not in DETAILS:
            raise InputMismatch(
                f"{name}.outputs.{one[:80]}",
                got="an unknown output",
                promised=f"one of {', '.join([*form.outputs, *DETAILS])}",
            )
        if one in wanted[:at]:
            raise InputMismatch(
                f"{name}.outputs.{one[:80]}", got="the same output twice", promised="each once"
            )
    return wanted
