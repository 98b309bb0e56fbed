"""JSON Schemas of tools: what of them is shape and what is text, and compiling them without network or
coercion.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

import jsonschema_rs

from remit.errors import GrantError

MAX_CHARACTERS: Final = 1 << 20
MAX_DEPTH: Final = 100

DRAFTS: Final = (
    "https://json-schema.org/draft/2020-12/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema",
    "http://json-schema.org/draft-06/schema",
    "http://json-schema.org/draft-04/schema",
)
"""The values of `$schema` that are known; a schema that says none is 2020-12."""

_MAPS: Final = frozenset(
    {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"}
)
_LISTS: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_SINGLE: Final = frozenset(
    {
        "additionalProperties",
        "additionalItems",
        "contains",
        "contentSchema",
        "else",
        "if",
        "items",
        "not",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
_TEXTS: Final = frozenset({"title", "description", "$comment", "examples"})
_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_BACKTRACKS: Final = 100_000

Pointer = tuple[str | int, ...]


class Parts(NamedTuple):
    """A schema taken apart: what validates, and the text written around it, by place."""

    shape: Any
    texts: dict[str, Any]


def canonical_json(value: Any, *, what: str) -> str:
    """`value` as JSON with sorted keys and no spaces. Raises GrantError when it is not JSON, too large or too deep."""
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise GrantError(f"{what} is not JSON: {error}") from error
    if len(text) > MAX_CHARACTERS:
        raise GrantError(f"{what} has {len(text)} characters of JSON; expected at most {MAX_CHARACTERS}")
    return text


def digest_of(text: str) -> str:
    """`sha256:…` of the UTF-8 bytes."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def taken_apart(schema: Mapping[str, Any]) -> Parts:
    """Shape and text of a schema, apart: `description`, `title`, `examples` and `$comment` are text where
    they are keywords, not where they are names of properties.
    """
    texts: dict[str, Any] = {}
    return Parts(_shape(schema, (), texts), texts)


def _shape(schema: Any, place: Pointer, texts: dict[str, Any]) -> Any:
    if len(place) > MAX_DEPTH:
        raise GrantError(f"the tool's schema is nested more than {MAX_DEPTH} deep")
    if not isinstance(schema, Mapping):
        return schema
    shape: dict[str, Any] = {}
    for word, value in schema.items():
        if word in _TEXTS:
            texts["/".join(map(str, (*place, word)))] = value
        elif word in _MAPS and isinstance(value, Mapping):
            shape[word] = {name: _shape(each, (*place, word, name), texts) for name, each in value.items()}
        elif (word in _LISTS or word == "items") and isinstance(value, list | tuple):
            shape[word] = [_shape(each, (*place, word, index), texts) for index, each in enumerate(value)]
        elif word in _SINGLE:
            shape[word] = _shape(value, (*place, word), texts)
        else:
            shape[word] = value
    return shape


def subschemas(schema: Any) -> Iterator[Mapping[str, Any]]:
    """The schema and every schema inside it."""
    if not isinstance(schema, Mapping):
        return
    yield schema
    for word, value in schema.items():
        if word in _MAPS and isinstance(value, Mapping):
            for each in value.values():
                yield from subschemas(each)
        elif (word in _LISTS or word == "items") and isinstance(value, list | tuple):
            for each in value:
                yield from subschemas(each)
        elif word in _SINGLE:
            yield from subschemas(value)


@lru_cache(maxsize=1024)
def compiled(shape: str, *, strict_integers: bool) -> Any:
    """The validator of a schema given as canonical JSON, made once. Raises GrantError when the schema is
    refused.

    Nothing is fetched: references lead into the schema itself, and the compiler runs offline. Patterns may
    backtrack a bounded number of times, and running out of them refuses the value. With `strict_integers`,
    2.0 is no integer (JSON Schema says that it is one; a tool would have to convert it).
    """
    schema = json.loads(shape)
    _refuse_unknown_draft(schema)
    for each in subschemas(schema):
        _refuse_foreign(each)
        if strict_integers:
            _mark_integers(each)
    try:
        return jsonschema_rs.validator_for(
            schema,
            validate_formats=False,
            offline=True,
            pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=_BACKTRACKS),
            keywords={_INTEGER: _StrictInteger},
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        message = getattr(error, "message", None) or str(error)
        raise GrantError(f"the tool's schema is not a valid JSON Schema: {message.splitlines()[0]}") from error


def _refuse_unknown_draft(schema: Mapping[str, Any]) -> None:
    said = schema.get("$schema", DRAFTS[0])
    if not isinstance(said, str) or said.rstrip("#") not in DRAFTS:
        raise GrantError(f"the tool's schema says $schema {said!r}; expected one of {', '.join(DRAFTS)}")


def _refuse_foreign(schema: Mapping[str, Any]) -> None:
    for word in _REFERENCES:
        target = schema.get(word)
        if word in schema and not (isinstance(target, str) and target.startswith("#")):
            raise GrantError(
                f"the tool's schema refers to {target!r}, outside itself; expected {word} to start with # "
                "(nothing is fetched)"
            )


_INTEGER: Final = "x-remit-integer"


def _mark_integers(schema: Mapping[str, Any]) -> None:
    kinds = schema.get("type")
    named = kinds if isinstance(kinds, list) else [kinds]
    if "integer" in named and "number" not in named:
        assert isinstance(schema, dict)
        schema[_INTEGER] = True


class _StrictInteger:
    """Keyword that refuses a float where a schema's type says integer and not number."""

    def __init__(self, parent_schema: dict[str, Any], value: Any, schema_path: list[str | int]) -> None:
        """Called by the compiler; nothing of it is needed."""

    def validate(self, instance: Any) -> None:
        if isinstance(instance, float):
            raise ValueError("is a number with a decimal point")
