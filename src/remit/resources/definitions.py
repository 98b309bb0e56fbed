"""Tool definitions: what a tool says of itself, pinned by digest, and arguments checked against it without
coercion.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import jsonschema_rs

from remit.errors import GrantError, NotCanonical
from remit.resources.schemas import canonical_json, compiled, digest_of, taken_apart
from remit.resources.text import is_encodable, kind_of

MAX_DEPTH: Final = 64
_MAX_REFERENCES: Final = 8
_LIMITS: Final = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minProperties": "at least {} members",
    "maxProperties": "at most {} members",
}


class ToolDefinition:
    """One tool's definition as its server or framework gives it: key, JSON Schema of its arguments,
    description.

    `schema_digest` pins the shape alone, `text_digest` every word that a model reads (the description, and titles,
    descriptions and examples inside the schema), `digest` both with the key. `content` is the canonical JSON that
    `digest` is taken of.
    """

    __slots__ = (
        "_defaults",
        "_shape",
        "argument_names",
        "content",
        "description",
        "digest",
        "key",
        "schema",
        "schema_digest",
        "text_digest",
    )

    def __init__(self, key: str, schema: Mapping[str, Any] | None = None, description: str | None = None) -> None:
        """Raises GrantError for a schema that is not valid JSON Schema, is not an object's, or refers outside
        itself.
        """
        text = canonical_json(
            {"description": description, "key": key, "schema": schema}, what=f"the definition of {key}"
        )
        self.key = key
        self.description = description
        self.content: bytes = text.encode()
        self.digest = digest_of(text)
        self.schema: dict[str, Any] | None = json.loads(text)["schema"]
        self._shape: str | None = None
        self._defaults: dict[str, Any] = {}
        self.argument_names: frozenset[str] = frozenset()
        """The arguments that the schema names."""
        texts: dict[str, Any] = {}
        if self.schema is not None:
            texts = self._read(self.schema)
        self.schema_digest = digest_of("null" if self._shape is None else self._shape)
        self.text_digest = digest_of(canonical_json([description, texts], what=f"the text of {key}"))

    def validate(self, arguments: Mapping[str, Any]) -> None:
        """Check arguments against the schema as they are: "99" is not 99, 2.0 is not an integer, true is not
        1.

        Raises NotCanonical with the argument's name, what was got (its kind, never its value) and what was
        expected. Without a schema nothing is checked.
        """
        if self._shape is None:
            return
        decimal_point = _scan(arguments)
        validator = compiled(self._shape, strict_integers=decimal_point)
        try:
            validator.validate(arguments if type(arguments) is dict else dict(arguments))
        except jsonschema_rs.ValidationError as error:
            raise NotCanonical(_sentence(error)) from None
        except ValueError as error:
            raise NotCanonical(f"the arguments cannot be read as JSON: {error}") from error

    def effective(self, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], frozenset[str]]:
        """The arguments with the schema's defaults in the place of absent ones, and the names that hold their default.

        Frameworks that validate send defaults along: a name that was sent with exactly its default counts as well.
        This is the view that is judged; the tool still gets the arguments as they came.
        """
        filled = dict(arguments)
        as_default = []
        for name, default in self._defaults.items():
            if name not in filled:
                filled[name] = copy.deepcopy(default)
            elif not _same(filled[name], default):
                continue
            as_default.append(name)
        return filled, frozenset(as_default)

    def _read(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Take the schema apart and compile it; returns its texts."""
        if schema.get("type", "object") != "object":
            raise GrantError(f"the schema of {self.key} is of type {schema['type']!r}; expected object")
        shape, texts = taken_apart(schema)
        self._shape = canonical_json(shape, what=f"the schema of {self.key}")
        try:
            compiled(self._shape, strict_integers=False)
        except GrantError as error:
            raise GrantError(f"{self.key}: {error}") from error
        properties = _followed(schema, schema).get("properties")
        if isinstance(properties, Mapping):
            self.argument_names = frozenset(properties)
            for name, each in properties.items():
                found = _followed(each, schema)
                if "default" in found:
                    self._defaults[name] = found["default"]
        return texts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ToolDefinition) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"ToolDefinition({self.key!r}, digest={self.digest!r})"


def _followed(part: Any, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A subschema with what its local references add; its own words win."""
    found: dict[str, Any] = {}
    for _ in range(_MAX_REFERENCES):
        if not isinstance(part, Mapping):
            break
        found = {**part, **found}
        reference = part.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            break
        part = _pointed(reference, schema)
    return found


def _pointed(reference: str, schema: Mapping[str, Any]) -> Any:
    part: Any = schema
    for token in reference[2:].split("/"):
        name = token.replace("~1", "/").replace("~0", "~")
        if not isinstance(part, Mapping) or name not in part:
            return None
        part = part[name]
    return part


def _scan(arguments: Mapping[str, Any]) -> bool:
    """Whether any number is a float with an integral value. Raises NotCanonical for what JSON cannot say."""
    integral = False
    for path, value in _walk(arguments):
        if isinstance(value, str):
            if not is_encodable(value):
                raise NotCanonical(f"the argument {path} has a lone surrogate, expected text that UTF-8 can hold")
        elif isinstance(value, float):
            if not math.isfinite(value):
                raise NotCanonical(f"the argument {path} is {value}, expected a finite number")
            integral = integral or value.is_integer()
    return integral


def _walk(arguments: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every scalar with the path that a sentence calls it by."""
    waiting: list[tuple[str, Any, int]] = [("", arguments, 0)]
    while waiting:
        path, value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise NotCanonical(f"the argument {path} is nested more than {MAX_DEPTH} deep", code="too_large")
        if isinstance(value, Mapping):
            for name, each in value.items():
                if not isinstance(name, str):
                    raise NotCanonical(f"{path or 'the call'} has {kind_of(name)} as a key, expected a string")
                waiting.append((f"{path}.{name}" if path else name, each, depth + 1))
        elif isinstance(value, list | tuple):
            waiting.extend((f"{path}[{index}]", each, depth + 1) for index, each in enumerate(value))
        elif value is None or isinstance(value, str | int | float):
            yield path, value
        else:
            raise NotCanonical(
                f"the argument {path} is {kind_of(value)}, which the tool's schema cannot judge; expected JSON"
            )


def _sentence(error: jsonschema_rs.ValidationError) -> str:
    """What was wrong, by name and kind; the value itself may be a secret and is never repeated."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.instance_path).removeprefix(
        "."
    )
    words = error.kind.as_dict()
    where = f"the argument {path}" if path else "the call"
    match error.kind.name:
        case "required":
            name = words["property"]
            return (
                f"{where} has no {name}; the tool's schema requires it" if path else f"the argument {name} is missing"
            )
        case "additionalProperties" | "unevaluatedProperties":
            unexpected = ", ".join(sorted(map(str, words["unexpected"])))
            return f"{where} has {unexpected}, which the tool's schema does not know"
        case "x-remit-integer":
            return f"{where} is a number with a decimal point, expected an integer"
        case _:
            return f"{where} is {_got(error)}, expected {_expected(error.kind.name, words)}"


def _got(error: jsonschema_rs.ValidationError) -> str:
    value = error.instance
    size = ""
    if error.kind.name.endswith("imum"):
        return "out of bounds"
    if isinstance(value, str):
        size = f" of {len(value)} characters"
    elif isinstance(value, list):
        size = f" of {len(value)} items"
    return kind_of(value) + size


def _expected(keyword: str, words: Mapping[str, Any]) -> str:
    match keyword:
        case "type":
            return " or ".join(words["types"])
        case "enum":
            return "one of " + _short(words["options"])
        case "const":
            return _short(words["expected_value"])
        case "anyOf" | "oneOf":
            return _alternatives(words)
        case "pattern":
            return "text that matches " + _short(words.get("pattern", "the schema's pattern"))
        case _ if keyword in _LIMITS:
            return _LIMITS[keyword].format(words["limit"])
        case _:
            return f"what the schema says under {keyword}"


def _alternatives(words: Mapping[str, Any]) -> str:
    kinds: list[str] = []
    for branch in words.get("context", ()):
        for each in branch:
            if each.kind.name == "type":
                kinds.extend(each.kind.as_dict()["types"])
    return " or ".join(dict.fromkeys(kinds)) if kinds else "one of the forms that the schema allows"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 200 else text[:199] + "…"


def _same(one: Any, other: Any) -> bool:
    """Typed equality of JSON values: 1 is not true, and not 1.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    return bool(one == other)
