"""One encoding for values that JSON cannot say: `{"$remit": kind, "v": …}`. The table is in docs/ledger.md.

Text, booleans, null, integers up to 2^53-1, other finite floats than whole ones, lists and maps with text keys stand
for themselves. Everything else has exactly one encoding, or none: then it is `Unrepresentable`, never guessed.
Decoding gives builtin values back; it never imports or constructs a class that evidence names.
"""

from __future__ import annotations

import base64
import dataclasses
import math
import uuid
from collections.abc import Callable, Container, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath, PurePosixPath
from typing import Any, Final, NamedTuple

from pydantic import BaseModel

from remit.errors import Unrepresentable
from remit.ledger.canonical import MAX_SAFE_INTEGER, canonical

MAX_SIZE: Final = 1 << 20
"""Bytes of one value's canonical JSON."""

MAX_DEPTH: Final = 64
"""Levels of lists and maps within each other."""

MAX_INTEGER_BITS: Final = 14_000
"""Just under 4,300 digits, beyond which Python itself refuses to write and read decimal text by default."""

TAG: Final = "$remit"

_MOST_ESCAPED: Final = 6
"""Bytes that one character can become: a control character is written `\\u001f`."""

_MICROSECOND: Final = timedelta(microseconds=1)


class Encoded:
    """A value in its encoding, with the canonical JSON of it: made once, used for digest, commitment and payload.

    `hidden` says which parts are only committed to and stand in no payload (`remit.ledger.hiding`); `scanned`, that
    known secret shapes were looked for already. `canonical` is of the whole value, hidden parts included.
    """

    __slots__ = ("_canonical", "hidden", "scanned", "tree")

    def __init__(self, tree: Any, hidden: tuple[Hidden, ...] = (), *, scanned: bool = False) -> None:
        self.tree = tree
        self.hidden = hidden
        self.scanned = scanned
        self._canonical: bytes | None = None

    @property
    def canonical(self) -> bytes:
        """RFC 8785 bytes of the encoding."""
        if self._canonical is None:
            self._canonical = canonical(self.tree)
        return self._canonical


class Hidden(NamedTuple):
    """A part of a value that evidence only commits to: where it is, who said so, and by which rule of a detector.

    `path` are keys and indexes of the encoding. `span` are characters of a text of which the rest is kept; None hides
    the whole value. `key`: the last step is itself what must not be kept.
    """

    path: tuple[str | int, ...]
    by: str
    rule: str | None = None
    span: tuple[int, int] | None = None
    key: bool = False


class Secret(str):
    """What remains of a value that was only committed to: `[secret]`, who marked it, and by which rule if any."""

    by: str
    rule: str | None

    def __new__(cls, by: str, rule: str | None = None) -> Secret:
        made = super().__new__(cls, placeholder(rule))
        made.by, made.rule = by, rule
        return made


def placeholder(rule: str | None = None) -> str:
    """What is shown instead of a value that was only committed to."""
    return f"[secret: {rule}]" if rule else "[secret]"


@dataclasses.dataclass(frozen=True, slots=True)
class Opaque:
    """What remains of a value that the catalogue calls opaque: the name of its type."""

    type: str


def encode(value: Any, *, opaque: Container[str] = ()) -> Any:
    """`value` as JSON-able data, sharing nothing mutable with it.

    `opaque` names top-level keys whose values may be anything: what has no encoding is kept as the name of its type.
    Raises `Unrepresentable`, with where in the value and what was found; its code is `too_large` beyond `MAX_SIZE`
    bytes or `MAX_DEPTH` levels.
    """
    encoder = _Encoder()
    try:
        if opaque and isinstance(value, Mapping):
            tree: Any = encoder.arguments(value, opaque)
        else:
            tree = encoder.walk(value, 0)
        if encoder.size > MAX_SIZE // _MOST_ESCAPED:
            _require_size(canonical(tree))
        return tree
    except _Refused as refused:
        raise refused.error() from None
    except RecursionError:
        raise Unrepresentable("the value is nested too deeply for evidence", code="too_large") from None


def encode_arguments(arguments: Mapping[str, Any], *, opaque: Container[str] = ()) -> dict[str, Any]:
    """The encoding of a call's arguments: see `encode`."""
    found: dict[str, Any] = encode(dict(arguments), opaque=opaque)
    return found


def decode(tree: Any) -> Any:
    """What `encode` was given, as builtin values: enums become their values, models and dataclasses dicts.

    Raises `Unrepresentable` for a kind that this version does not know.
    """
    if type(tree) is list:
        return [decode(item) for item in tree]
    if type(tree) is not dict:
        return tree
    if TAG not in tree:
        return {key: decode(item) for key, item in tree.items()}
    kind = tree[TAG]
    reader = _DECODERS.get(kind) if isinstance(kind, str) else None
    if reader is None or tree.keys() != {TAG, "v"}:
        raise Unrepresentable(f"unknown encoding {kind!r}; expected one of {', '.join(sorted(_DECODERS))}")
    try:
        return reader(tree["v"])
    except (ValueError, TypeError, KeyError, ArithmeticError, AttributeError) as error:
        raise Unrepresentable(f"damaged encoding of kind {kind!r}: {error}") from error


_PLAIN_SCALARS: Final = frozenset({str, int, float, bool, type(None)})


def is_plain(value: Any) -> bool:
    """Whether `value` consists of str, int, float, bool, None, list and dict only, exactly these types."""
    kind = type(value)
    if kind in _PLAIN_SCALARS:
        return True
    if kind is dict:
        return all(type(key) is str and is_plain(item) for key, item in value.items())
    return kind is list and all(is_plain(item) for item in value)


def copy_plain(value: Any) -> Any:
    """A copy of a plain value that shares nothing mutable with it."""
    kind = type(value)
    if kind is dict:
        return {key: item if type(item) in _PLAIN_SCALARS else copy_plain(item) for key, item in value.items()}
    if kind is list:
        return [item if type(item) in _PLAIN_SCALARS else copy_plain(item) for item in value]
    return value


class _Refused(Exception):
    """A refusal on its way up; every level puts the step that led to it in front."""

    def __init__(self, reason: str, code: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.steps: list[str] = []

    def error(self) -> Unrepresentable:
        where = "".join(reversed(self.steps)).lstrip(".")
        return Unrepresentable(f"{where}: {self.reason}" if where else self.reason, code=self.code)


def _require_size(content: bytes) -> None:
    if len(content) > MAX_SIZE:
        raise Unrepresentable(
            f"the value comes to {len(content)} bytes; evidence holds at most {MAX_SIZE} of one value", code="too_large"
        )


class _Encoder:
    """One encoding in progress. `size` is a lower bound of the bytes so far, so that nothing huge is built first."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = 0

    def arguments(self, arguments: Mapping[str, Any], opaque: Container[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, item in arguments.items():
            before = self.size
            try:
                found.update(self.mapping({name: item}, 0))
            except _Refused:
                if name not in opaque:
                    raise
                self.size = before
                found[name] = self.tagged("opaque", _class_name(item))
        return found

    def walk(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            self.text(value)
            return value
        if value is None or kind is bool or (kind is int and -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER):
            self.grow(4)
            return value
        if kind is dict:
            return self.mapping(value, depth)
        if kind is list:
            return self.items(value, depth)
        if kind is float:
            return _float(self, value, depth)
        return self.other(value, depth)

    def other(self, value: Any, depth: int) -> Any:
        for base, encoder in _ENCODERS:
            if isinstance(value, base):
                return encoder(self, value, depth)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value)]
            return self.model(value, {name: getattr(value, name) for name in names}, depth)
        raise _Refused(
            f"a {_class_name(value)} has no encoding in evidence; expected JSON values, or one of the "
            "types listed in docs/ledger.md; a catalogue can call an argument `opaque`"
        )

    def grow(self, size: int) -> None:
        self.size += size + 1
        if self.size > MAX_SIZE:
            raise _Refused(f"larger than {MAX_SIZE} bytes, the most that evidence holds of one value", "too_large")

    def text(self, value: str) -> None:
        if value.isascii():
            self.grow(len(value) + 2)
            return
        try:
            self.grow(len(value.encode()) + 2)
        except UnicodeEncodeError:
            raise _Refused("text with a lone surrogate, which has no UTF-8 form") from None

    def mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        self.enter(value, depth)
        found: dict[str, Any] = {}
        size = 0
        for key, item in value.items():
            if type(key) is not str or not key.isascii() or key == TAG:
                key = self.key(key)
            kind = type(item)
            size += len(key) + 5
            # What most values are is dealt with here: a call for each costs more than all else together.
            if kind is str and item.isascii():
                size += len(item)
            elif not (item is None or kind is bool or (kind is int and -MAX_SAFE_INTEGER <= item <= MAX_SAFE_INTEGER)):
                try:
                    item = self.walk(item, depth + 1)
                except _Refused as refused:
                    refused.steps.append(f".{key}")
                    raise
            found[key] = item
        if len(found) != len(value):
            raise _Refused("two keys of a map are the same text")
        self.grow(size)
        return found

    def key(self, key: Any) -> str:
        if not isinstance(key, str) or isinstance(key, Enum):
            raise _Refused(f"a key of type {_class_name(key)}; expected text")
        plain = str.__str__(key)
        if plain == TAG:
            raise _Refused(f"the key {TAG!r} is reserved for Remit's own encoding")
        self.text(plain)
        return plain

    def items(self, value: Any, depth: int) -> list[Any]:
        self.enter(value, depth)
        found: list[Any] = []
        size = 0
        for item in value:
            kind = type(item)
            size += 2
            if kind is str and item.isascii():
                size += len(item)
            elif not (kind is int and -MAX_SAFE_INTEGER <= item <= MAX_SAFE_INTEGER):
                try:
                    item = self.walk(item, depth + 1)
                except _Refused as refused:
                    refused.steps.append(f"[{len(found)}]")
                    raise
            found.append(item)
        self.grow(size)
        return found

    def enter(self, value: Any, depth: int) -> None:
        if depth >= MAX_DEPTH:
            raise _Refused(f"nested more than {MAX_DEPTH} levels deep", "too_large")
        if self.size + 2 * len(value) > MAX_SIZE:
            self.grow(2 * len(value))  # refused before anything is built
        self.grow(2)

    def tagged(self, kind: str, content: Any) -> dict[str, Any]:
        self.grow(20 + (len(content) if isinstance(content, str) else 0))
        return {TAG: kind, "v": content}

    def model(self, value: Any, fields: Mapping[str, Any], depth: int) -> dict[str, Any]:
        return self.tagged("model", {"class": _class_name(value), "fields": self.mapping(fields, depth + 1)})


def _class_name(value: Any) -> str:
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def _enum(encoder: _Encoder, value: Enum, depth: int) -> Any:
    inner = encoder.walk(value.value, depth + 1)
    return encoder.tagged("enum", {"class": _class_name(value), "name": value.name, "value": inner})


def _integer(encoder: _Encoder, value: int, depth: int) -> Any:
    plain = int.__index__(value)
    if -MAX_SAFE_INTEGER <= plain <= MAX_SAFE_INTEGER:
        return encoder.walk(plain, depth)
    if plain.bit_length() > MAX_INTEGER_BITS:
        raise _Refused(f"an integer of {plain.bit_length()} bits; expected at most {MAX_INTEGER_BITS}", "too_large")
    return encoder.tagged("int", str(plain))


def _float(encoder: _Encoder, value: float, depth: int) -> Any:
    plain = float.__float__(value)
    if not math.isfinite(plain):
        raise _Refused(f"{plain} is not a number that evidence can hold")
    if plain.is_integer():
        return encoder.tagged("float", repr(plain))  # JSON cannot tell 20.0 from 20, nor -0.0 from 0
    encoder.grow(3)
    return plain


def _decimal(encoder: _Encoder, value: Decimal, depth: int) -> Any:
    if not value.is_finite():
        raise _Refused(f"{value} is not a number that evidence can hold")
    return encoder.tagged("decimal", str(value))


def _set(encoder: _Encoder, value: Any, depth: int) -> Any:
    return encoder.tagged("set", sorted(encoder.items(value, depth + 1), key=canonical))


def _tuple(encoder: _Encoder, value: tuple[Any, ...], depth: int) -> Any:
    names = getattr(value, "_fields", None)
    if isinstance(names, tuple) and len(names) == len(value):
        return encoder.model(value, dict(zip(names, value, strict=True)), depth)
    return encoder.tagged("tuple", encoder.items(value, depth + 1))


def _pydantic(encoder: _Encoder, value: BaseModel, depth: int) -> Any:
    fields = {name: getattr(value, name) for name in type(value).model_fields}
    return encoder.model(value, {**fields, **(value.model_extra or {})}, depth)


def _text_subclass(encoder: _Encoder, value: str, depth: int) -> Any:
    return encoder.walk(str.__str__(value), depth)


def _bytes(encoder: _Encoder, value: bytes | bytearray | memoryview, depth: int) -> Any:
    raw = bytes(value)
    encoder.grow(len(raw))
    return encoder.tagged("bytes", base64.b64encode(raw).decode())


_Encode = Callable[[_Encoder, Any, int], Any]

_ENCODERS: Final[tuple[tuple[Any, _Encode], ...]] = (
    (Enum, _enum),  # before str and int: StrEnum and IntEnum are both
    (float, _float),
    (int, _integer),
    (str, _text_subclass),
    (Decimal, _decimal),
    (datetime, lambda encoder, value, depth: encoder.tagged("datetime", value.isoformat())),
    (date, lambda encoder, value, depth: encoder.tagged("date", value.isoformat())),
    (time, lambda encoder, value, depth: encoder.tagged("time", value.isoformat())),
    (timedelta, lambda encoder, value, depth: encoder.tagged("timedelta", str(value // _MICROSECOND))),
    ((bytes, bytearray, memoryview), _bytes),
    (uuid.UUID, lambda encoder, value, depth: encoder.tagged("uuid", str(value))),
    (PurePath, lambda encoder, value, depth: encoder.tagged("path", encoder.walk(value.as_posix(), depth))),
    (BaseModel, _pydantic),
    (Mapping, lambda encoder, value, depth: encoder.mapping(value, depth)),
    (tuple, _tuple),
    ((set, frozenset), _set),
    (list, lambda encoder, value, depth: encoder.items(value, depth)),
)


def _read_set(items: list[Any]) -> Any:
    found = [decode(item) for item in items]
    try:
        return set(found)
    except TypeError:
        return found  # members that were hashable models are dicts now


_DECODERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "int": int,
    "float": float,
    "decimal": Decimal,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": lambda v: int(v) * _MICROSECOND,
    "bytes": lambda v: base64.b64decode(v, validate=True),
    "uuid": uuid.UUID,
    "path": PurePosixPath,
    "enum": lambda v: decode(v["value"]),
    "set": _read_set,
    "tuple": lambda v: tuple(decode(item) for item in v),
    "model": lambda v: decode(v["fields"]),
    "opaque": Opaque,
    "secret": lambda v: Secret(v["by"], v.get("rule")),
    "masked": lambda v: "".join(part if isinstance(part, str) else placeholder(part.get("rule")) for part in v),
}
"""Every kind that `encode` writes, with its reader."""

KINDS: Final = tuple(_DECODERS)
