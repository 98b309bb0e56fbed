"""What a tool reads out of what a model sent, and whether that is the same.

LangChain validates arguments after they leave the model: `"99"` becomes 99, unknown names vanish, text is stripped.
What is judged has to be what was sent *and* what runs, so the two are compared value by value. Filling in defaults,
and giving a value the Python type that its schema names (a date, an enum, a model), is no difference; anything else is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_jsonable_python

_SCALARS: Final = frozenset({str, int, float, bool, type(None)})


class Differs(Exception):
    """What was sent is not what the tool reads. `str()` is one sentence that says where, and what would be read."""


def is_plain(value: Any) -> bool:
    """Whether `value` is JSON as it stands: text, numbers, booleans, null, lists and maps of them."""
    kind = type(value)
    if kind in _SCALARS:
        return True
    if kind is list:
        return all(is_plain(item) for item in value)
    return kind is dict and all(type(key) is str and is_plain(item) for key, item in value.items())


def sent(value: Any) -> Any:
    """A copy of what was sent that validation cannot change: validators may write into the containers they read."""
    if type(value) is dict:
        return {key: sent(item) for key, item in value.items()}
    if type(value) is list:
        return [sent(item) for item in value]
    return value


def plain(value: Any) -> Any:
    """A value as JSON says it, in the form that its schema describes; what JSON cannot say stays as it is."""
    if type(value) in _SCALARS:
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, BaseModel):
        return {public: plain(getattr(value, name)) for name, public in public_names(type(value)).items()}
    if isinstance(value, Mapping):
        return {_key(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, PurePath):
        return str(value)
    if callable(reveal := getattr(value, "get_secret_value", None)):
        return plain(reveal())
    try:
        return to_jsonable_python(value)
    except (PydanticSerializationError, ValueError, TypeError):
        return value


def public_names(model: type[Any]) -> dict[str, str]:
    """Field name → the name that the model's schema shows, which is an alias where there is one."""
    fields: Mapping[str, Any] = getattr(model, "model_fields", None) or getattr(model, "__fields__", {})
    found: dict[str, str] = {}
    for name, field in fields.items():
        alias = getattr(field, "validation_alias", None) or getattr(field, "alias", None)
        found[name] = alias if isinstance(alias, str) else name
    return found


def judged(raw: Any, value: Any, where: str) -> Any:
    """The JSON form of `value`, which a tool read out of `raw`. Raises `Differs` when it is not what was sent."""
    if isinstance(value, BaseModel) and isinstance(raw, Mapping):
        return _model(raw, value, where)
    if isinstance(value, Mapping) and isinstance(raw, Mapping):
        return _mapping(raw, {_key(key): item for key, item in value.items()}, where)
    if isinstance(value, list | tuple) and isinstance(raw, list | tuple):
        if len(raw) != len(value):
            raise _differs(where, raw, value)
        pairs = enumerate(zip(raw, value, strict=True))
        return [judged(one, other, f"{where}[{index}]") for index, (one, other) in pairs]
    if isinstance(value, set | frozenset) and isinstance(raw, list | tuple | set | frozenset):
        return _set(raw, value, where)
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and isinstance(raw, Mapping):
        read = plain(value)
        for key, item in raw.items():
            if key not in read or not _same(item, read[key]):
                raise _differs(f"{where}.{key}", item, read.get(key))
        return read
    read = plain(value)
    if not _same(raw, value):
        raise _differs(where, raw, read)
    return read


def _model(raw: Mapping[str, Any], value: BaseModel, where: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    left = set(raw)
    for name, public in public_names(type(value)).items():
        item = getattr(value, name)
        key = public if public in raw else name
        if key in raw:
            left.discard(key)
            found[public] = judged(raw[key], item, f"{where}.{public}")
        elif name in value.model_fields_set:
            raise _differs(f"{where}.{public}", None, item)
        else:
            found[public] = plain(item)
    for key, item in (value.model_extra or {}).items():
        left.discard(key)
        found[key] = judged(raw.get(key), item, f"{where}.{key}")
    if left:
        raise Differs(f"`{where}` has no field {min(left)!r}; it would be dropped")
    return found


def _mapping(raw: Mapping[Any, Any], value: Mapping[str, Any], where: str) -> dict[str, Any]:
    keys = {_key(key): item for key, item in raw.items()}
    if keys.keys() != value.keys():
        raise _differs(where, dict(raw), dict(value))
    return {key: judged(keys[key], item, f"{where}.{key}") for key, item in value.items()}


def _set(raw: Any, value: Any, where: str) -> list[Any]:
    read = [plain(item) for item in value]
    if len(raw) != len(read) or not all(any(_same(item, one) for one in read) for item in raw):
        raise _differs(where, list(raw), read)
    return [plain(item) for item in raw]


def _same(raw: Any, value: Any) -> bool:
    one, other = plain(raw), plain(value)
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other
    return type(one) is type(other) and bool(one == other)


def _number(value: Decimal) -> Any:
    if not value.is_finite():
        return value
    if value == value.to_integral_value():
        return int(value)
    return float(value) if Decimal(repr(float(value))) == value else value


def _key(key: Any) -> str:
    return key if type(key) is str else str(plain(key))


def _differs(where: str, raw: Any, value: Any) -> Differs:
    """Kinds, never values: an argument may be a secret, and a sentence goes far."""
    one, other = _kind(raw), _kind(plain(value))
    if one == other:
        return Differs(f"`{where}` was sent as {one} that the tool would read as another; send it in its final form")
    return Differs(f"`{where}` was sent as {one}, and the tool would read it as {other}; send {other}")


def _kind(value: Any) -> str:
    for kind, name in _KINDS:
        if isinstance(value, kind):
            return name
    return "null" if value is None else f"a {type(value).__name__}"


_KINDS: Final[tuple[tuple[Any, str], ...]] = (
    (bool, "true or false"),
    (int, "an integer"),
    (float, "a number"),
    (str, "text"),
    (Mapping, "an object"),
    ((list, tuple, set, frozenset), "a list"),
)
