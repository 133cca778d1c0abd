"""Rules on the fields of messages, and the way from a dataclass to plain values and back.

A rule stands in an annotation (`Annotated[int, Whole(0, 10)]`). `to_plain` and `from_plain` enforce it on
both sides: no `bool` for an `int`, no `float` for an `int`, no NaN, nothing unbounded.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from .errors import ProtocolError


@dataclass(frozen=True)
class Whole:
    """An integer of at most 64 bits."""

    low: int
    high: int


@dataclass(frozen=True)
class Number:
    """A finite number; an integer is taken for a float, as msgpack may write 1.0 either way."""

    low: float
    high: float


@dataclass(frozen=True)
class Text:
    """Characters, valid Unicode, no NUL."""

    longest: int
    pattern: str = ""
    """The whole text must match."""
    may_be_empty: bool = True


@dataclass(frozen=True)
class Items:
    """A list of `each`: a rule or a dataclass."""

    each: Any
    most: int


@dataclass(frozen=True)
class Plain:
    """A flat map from short names to text, numbers, booleans, None or lists of text."""

    most: int


@dataclass(frozen=True)
class Payload:
    """Bytes in a frame of their own; never in the header."""

    most: int
    covered: bool = False
    """A hash of the whole file covers them: they may travel without a checksum of their own."""


_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
Id = Annotated[str, Text(36, pattern=_UUID)]
"""A UUID in lower case; it may become part of a path, so nothing else is let through."""
MaybeId = Annotated[str, Text(36, pattern=f"({_UUID})?")]
Sha256 = Annotated[str, Text(64, pattern=r"[0-9a-f]{64}")]
Name = Annotated[str, Text(128)]

_BY_TYPE: dict[object, Any] = {
    str: Text(8_192),
    int: Whole(-(2**63), 2**63 - 1),
    float: Number(-math.inf, math.inf),
}
"""Rules of fields whose annotation has none."""


@cache
def rules_of(kind: type) -> dict[str, tuple[Any, bool]]:
    """Rule of each field of a dataclass, and whether it may be None."""
    hints = get_type_hints(kind, include_extras=True)
    return {f.name: _rule(hints[f.name]) for f in dataclasses.fields(kind)}


def _rule(hint: Any) -> tuple[Any, bool]:
    if get_origin(hint) is Annotated:
        return get_args(hint)[1], False
    if get_origin(hint) in (types.UnionType, Union):
        inner = [h for h in get_args(hint) if h is not type(None)]
        return _rule(inner[0])[0], True
    return _BY_TYPE.get(hint, hint), False


def is_id(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(_UUID, value) is not None


def to_plain(value: object, path: str = "$") -> dict[str, Any]:
    """A dataclass as a map of plain values, payloads left out, every rule enforced.

    Raises:
        ProtocolError: BAD_FIELD with the field's path.
    """
    plain: dict[str, Any] = {}
    for name, (rule, optional) in rules_of(type(value)).items():
        if not isinstance(rule, Payload):
            plain[name] = _checked(getattr(value, name), rule, optional, f"{path}.{name}", outward=True)
    return plain


def from_plain(kind: type, plain: Any, path: str = "$", payloads: Mapping[str, Any] | None = None) -> Any:
    """A dataclass from a map that came from outside. Unknown fields are ignored, so that they can be added.

    Raises:
        ProtocolError: BAD_FIELD with the field's path.
    """
    if not isinstance(plain, dict):
        raise ProtocolError("BAD_FIELD", path, "is not a map", type(plain).__name__)
    source = cast(dict[str, Any], plain)
    values: dict[str, Any] = dict(payloads or {})
    for field in dataclasses.fields(kind):
        rule, optional = rules_of(kind)[field.name]
        if isinstance(rule, Payload):
            continue
        place = f"{path}.{field.name}"
        if field.name in source:
            values[field.name] = _checked(source[field.name], rule, optional, place, outward=False)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ProtocolError("BAD_FIELD", place, "is missing")
    return kind(**values)


def _checked(value: Any, rule: Any, optional: bool, path: str, outward: bool) -> Any:
    """`value` if it obeys `rule`, turned to plain values (outward) or to a dataclass's own."""
    if value is None:
        if optional:
            return None
        raise ProtocolError("BAD_FIELD", path, "is missing")
    match rule:
        case Whole():
            return _whole(value, rule, path)
        case Number():
            return _number(value, rule, path)
        case Text():
            return _text(value, rule, path)
        case Items():
            return _items(value, rule, path, outward)
        case Plain():
            return _plain_map(value, rule, path)
        case _ if rule is bool:
            if not isinstance(value, bool):
                raise ProtocolError("BAD_FIELD", path, "is not true or false", value)
            return value
        case _ if get_origin(rule) is Literal:
            if not isinstance(value, str) or value not in get_args(rule):
                raise ProtocolError("BAD_FIELD", path, "is unknown", value, ", ".join(get_args(rule)))
            return value
        case _:
            return to_plain(value, path) if outward else from_plain(rule, value, path)


def _whole(value: Any, rule: Whole, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ProtocolError("BAD_FIELD", path, "is not a whole number", value)
    if not rule.low <= value <= rule.high:
        raise ProtocolError("BAD_FIELD", path, "is out of range", value, f"{rule.low} to {rule.high}")
    return value


def _number(value: Any, rule: Number, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProtocolError("BAD_FIELD", path, "is not a number", value)
    if not math.isfinite(value) or not rule.low <= value <= rule.high:
        raise ProtocolError("BAD_FIELD", path, "is out of range", value, f"{rule.low} to {rule.high}")
    return float(value)


def _text(value: Any, rule: Text, path: str) -> str:
    if not isinstance(value, str):
        raise ProtocolError("BAD_FIELD", path, "is not text", type(value).__name__)
    if len(value) > rule.longest:
        raise ProtocolError("BAD_FIELD", path, "is too long", len(value), rule.longest)
    if "\0" in value or (not value.isascii() and _has_surrogate(value)):
        raise ProtocolError("BAD_FIELD", path, "has characters that no text may have", value)
    if rule.pattern and re.fullmatch(rule.pattern, value) is None:
        raise ProtocolError("BAD_FIELD", path, "does not have the right form", value, rule.pattern)
    if not value and not rule.may_be_empty:
        raise ProtocolError("BAD_FIELD", path, "is empty")
    return value


def _has_surrogate(value: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for c in value)


def _items(value: Any, rule: Items, path: str, outward: bool) -> Any:
    if not isinstance(value, list | tuple):
        raise ProtocolError("BAD_FIELD", path, "is not a list", type(value).__name__)
    items = cast(Sequence[Any], value)
    if len(items) > rule.most:
        raise ProtocolError("BAD_FIELD", path, "is too long", len(items), rule.most)
    checked = [_checked(item, rule.each, False, f"{path}[{i}]", outward) for i, item in enumerate(items)]
    return checked if outward else tuple(checked)


def _plain_map(value: Any, rule: Plain, path: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ProtocolError("BAD_FIELD", path, "is not a map", type(value).__name__)
    items = cast(Mapping[Any, Any], value)
    if len(items) > rule.most:
        raise ProtocolError("BAD_FIELD", path, "is too long", len(items), rule.most)
    checked: dict[str, Any] = {}
    for name, item in items.items():
        _text(name, Text(64), path)
        checked[name] = _plain_value(item, f"{path}.{name}")
    return checked


def _plain_value(value: Any, path: str) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return _whole(value, _BY_TYPE[int], path)
    if isinstance(value, float):
        return _number(value, _BY_TYPE[float], path)
    if isinstance(value, list | tuple):
        return _items(value, Items(Text(300), 64), path, outward=True)
    return _text(value, Text(300), path)
