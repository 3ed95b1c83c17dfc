"""Whether what calls a model may go on calling it: signatures compared."""

from __future__ import annotations

from splice.core.release import Column, Signature


def breaks(before: Signature, after: Signature) -> list[str]:
    """What would no longer work with a model of `after` in the place of one of `before`.

    Empty where every context that suited the old one suits the new one, and what comes out means
    the same. An input that takes whole numbers where any number was taken is a break; the other
    way round is none.
    """
    found: list[str] = []
    old = {column.name: column for column in before.inputs}
    new = {column.name: column for column in after.inputs}
    if _is_matrix(before) and _is_matrix(after):
        found += _matrices(before, after)
    else:
        found += [f"it no longer reads {name}" for name in old if name not in new]
        found += [f"it needs {name} besides" for name in new if name not in old]
        for name, column in new.items():
            was = old.get(name)
            if was is not None and not _takes(was, column):
                found.append(f"{name} is {_told(column)} instead of {_told(was)}")
    if before.classes != after.classes:
        found.append(f"its classes are {_listed(after.classes)} instead of "
                     f"{_listed(before.classes)}")  # fmt: skip
    elif (was := _answer(before)) != (now := _answer(after)):
        found.append(f"it gives {now} instead of {was}")
    return found


def _matrices(before: Signature, after: Signature) -> list[str]:
    old, new = before.inputs[0], after.inputs[0]
    if before.features and after.features:
        found = [f"it no longer reads {one}" for one in before.features
                 if one not in after.features]  # fmt: skip
        found += [f"it needs {one} besides" for one in after.features
                  if one not in before.features]  # fmt: skip
        return found
    if not _takes(old, new):
        return [f"{new.name} is {_told(new)} instead of {_told(old)}"]
    return []


def _is_matrix(signature: Signature) -> bool:
    inputs = signature.inputs
    return len(inputs) == 1 and len(inputs[0].shape) == 2 and inputs[0].shape[1] != 1


def _kind(datatype: str) -> str:
    return {"BYTES": "text", "BOOL": "truth"}.get(datatype, datatype.rstrip("0123456789"))


def _takes(was: Column, now: Column) -> bool:
    """Whether what suited the one suits the other."""
    before, after = _kind(was.datatype), _kind(now.datatype)
    wider = before == after or (after == "FP" and before != "text")
    shapes = zip(was.shape[1:], now.shape[1:], strict=False)
    return wider and all(b == a or a == -1 for b, a in shapes)


def _answer(signature: Signature) -> str:
    """The first output of numbers, without its datatype's width: what the way out reads."""
    for column in signature.outputs:
        if column.datatype.startswith("FP"):
            return f"{column.shape[1] if len(column.shape) > 1 else 1} numbers a row"
    return "labels"


def _told(column: Column) -> str:
    return f"{column.datatype}{list(column.shape)}"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "unnamed"
