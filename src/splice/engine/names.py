"""Names: which integration the `model` of a request means.

It names an integration, an alias of one, `provider/model` within an integration that allows it, or
`integration/provider/model` where several do.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping

import msgspec

from splice.core.access import Principal
from splice.core.errors import NotAllowed, UnknownModel
from splice.engine.line import Line, Step

_MOST_DIRECT = 256


class Named(msgspec.Struct, frozen=True):
    """The integration meant, and the routes to try.

    They are its own, or the one to `model`, where the caller named one himself.
    """

    line: Line
    steps: tuple[Step, ...]
    model: str = ""


class Names:
    """Finds lines by what callers call them.

    Args:
        lines: The live lines by name; read at each look-up.
    """

    def __init__(self, lines: Mapping[str, Line]) -> None:
        self._lines = lines
        self._aliases: dict[str, str] = {}
        self._direct: dict[tuple[str, int, str], Step] = {}

    def find(self, model: str, principal: Principal) -> Named:
        """What a name means for a caller.

        Raises:
            UnknownModel: It means nothing, or nothing that he may know of.
            NotAllowed: His key does not let him name this model.
        """
        line = self._lines.get(model) or self._aliased(model)
        if line is not None and _visible(line, principal):
            return Named(line, line.steps)
        if "/" in model:
            return self._named_directly(model, principal)
        raise self._unknown(model, principal)

    def _aliased(self, model: str) -> Line | None:
        line = self._lines.get(self._aliases.get(model, ""))
        if line is not None and model in line.declaration.options.aliases:
            return line
        self._aliases = {
            alias: one.name
            for one in sorted(self._lines.values(), key=lambda one: one.name, reverse=True)
            for alias in one.declaration.options.aliases
        }
        return self._lines.get(self._aliases.get(model, ""))

    def _named_directly(self, model: str, principal: Principal) -> Named:
        head, _, rest = model.partition("/")
        chosen = self._lines.get(head)
        if chosen is not None and "/" in rest:
            lines, wanted = [chosen], rest
        else:
            lines, wanted = sorted(self._lines.values(), key=lambda one: one.name), model
        allowed = [
            line
            for line in lines
            if _visible(line, principal)
            and any(fnmatch.fnmatchcase(wanted, one) for one in line.declaration.options.models)
        ]
        if not allowed:
            raise self._unknown(model, principal)
        if principal.key is not None and not principal.key.may_name(wanted):
            raise NotAllowed(
                "model",
                got=f"{wanted[:128]}, which this key may not name",
                promised="an integration, an alias, or a model that the key allows",
                mend="ask for a key with this model, or call an integration by its name",
            )
        return self._direct_step(allowed[0], wanted)

    def _direct_step(self, line: Line, wanted: str) -> Named:
        key = (line.name, line.release.number, wanted)
        step = self._direct.get(key)
        if step is None:
            if line.direct is None:
                raise UnknownModel("model", got=f"{wanted[:128]}, which {line.name} cannot reach")
            if len(self._direct) >= _MOST_DIRECT:
                self._direct.clear()
            step = self._direct[key] = line.direct(wanted)
        return Named(line, (step,), wanted)

    def _unknown(self, model: str, principal: Principal) -> UnknownModel:
        known = [one.name for one in self._lines.values() if _visible(one, principal)]
        return UnknownModel(
            "model",
            got=repr(model[:128]),
            promised=f"one of {', '.join(sorted(known)) or 'none yet'}",
            mend="GET /v1/models lists what this key may use",
        )


def _visible(line: Line, principal: Principal) -> bool:
    return principal.key is None or principal.key.may_call(line.name)
