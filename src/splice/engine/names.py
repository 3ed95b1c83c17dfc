"""Names: which integration the `model` of a request means.

It names an integration, an alias of one, `provider/model` within an integration that allows it, or
`integration/provider/model` where several do.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Container, Mapping

import msgspec

from splice.core.access import Principal
from splice.core.errors import NotAllowed, UnknownModel
from splice.engine.admit import not_loaded
from splice.engine.line import Line, Step

_MOST_DIRECT = 256
LISTED = (
    "GET /v1/models lists the integrations and aliases that this key may use; "
    "a conversation may allow provider/model patterns beside them"
)
_SPELLED = re.compile(r"[!-~]{1,256}")
"""What a caller names goes into headers, records and logs, as it is."""


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
        broken: Integrations whose live release could not be loaded; read at each look-up.
    """

    def __init__(self, lines: Mapping[str, Line], broken: Container[str] = ()) -> None:
        self._lines, self._broken = lines, broken
        self._aliases: dict[str, str] = {}
        self._direct: dict[tuple[str, int, str], Step] = {}

    def find(self, model: str, principal: Principal) -> Named:
        """What a name means for a caller.

        Raises:
            NotLoaded: It means an integration that could not be loaded here.
            UnknownModel: It means nothing, or nothing that he may know of.
            NotAllowed: His key does not let him name this model.
        """
        line = self._lines.get(model) or self._aliased(model)
        if line is not None and _visible(line, principal):
            return Named(line, line.steps)
        if model in self._broken and principal.may_call(model):
            raise not_loaded(model)
        if "/" in model and _SPELLED.fullmatch(model):
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
        lines = [one for one in self._lines.values() if _visible(one, principal)]
        known = sorted(
            {name for one in lines for name in (one.name, *one.declaration.options.aliases)}
        )
        if principal.key is not None and not known:
            return UnknownModel(
                "model",
                got=f"{model[:128]!r}, with a key that reaches no integration",
                mend="ask for a key that does",
            )
        patterns = sorted({one for line in lines for one in line.declaration.options.models})
        promised = f"one of {', '.join(known) or 'none yet'}"
        if patterns:
            promised += f", or a model of {', '.join(patterns)}"
        return UnknownModel(
            "model", got=repr(model[:128]), promised=promised, mend=_mend(model[:128], known)
        )


def _mend(model: str, known: list[str]) -> str:
    near = difflib.get_close_matches(model, known, n=1, cutoff=0.7)
    if near:
        return f"did you mean {near[0]}? {LISTED}"
    provider, slash, rest = model.partition("/")
    if slash and provider and rest:
        called = f"call {known[0]}" if known else "declare an integration"
        return (
            f'declare models = ["{provider}/*"] in a Conversation to let callers name it, '
            f"or {called}"
        )
    return LISTED


def _visible(line: Line, principal: Principal) -> bool:
    return principal.may_call(line.name)
