"""Placeholders of access templates, `{x}`, `{x?}`, `{x*}`, `{x*.field}`: where values are, and what they become."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from remit.errors import NotCanonical
from remit.resources import kinds
from remit.resources.text import kind_of

MAX_ACCESSES: Final = 1000

_NAME: Final = r"[A-Za-z_$][A-Za-z0-9_$-]*"
SLOT: Final = re.compile(rf"\{{({_NAME})(\*\?|\*|\?)?((?:\.{_NAME})*)\}}")
_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Slot:
    """One `{…}`: where its value is found, and what it becomes."""

    argument: str
    fields: tuple[str, ...]
    several: bool
    optional: bool
    before: str = ""
    after: str = ""
    convert: kinds.Convert = kinds.segment
    rooted: bool = False
    """Whether it is an absolute path, so that a base and links concern it."""
    whole: bool = True
    """Whether all that the value says stands in the access."""

    @property
    def reference(self) -> str:
        """How a catalogue's `kinds` names it: `path`, or `files.path` for a field."""
        return ".".join((self.argument, *self.fields))

    def value(self, arguments: Mapping[str, Any]) -> Sequence[Any] | None:
        """The values of this slot, or None when it is optional and absent. Raises NotCanonical."""
        value = arguments.get(self.argument, _ABSENT)
        if value is _ABSENT or (value is None and self.optional):
            if self.optional:
                return None
            raise NotCanonical(f"the argument {self.argument} is missing, and it names the resource")
        try:
            return self._values(value)
        except NotCanonical as error:
            raise NotCanonical(f"the argument {self.reference} is refused: {error}", code=error.code) from None

    def texts(self, arguments: Mapping[str, Any]) -> list[str] | None:
        """The URI texts of this slot, or None when it is optional and absent. Raises NotCanonical."""
        values = self.value(arguments)
        if values is None:
            return None
        try:
            return [self.before + text + self.after for each in values for text in self.convert(each)]
        except NotCanonical as error:
            raise NotCanonical(f"the argument {self.reference} is refused: {error}", code=error.code) from None

    def _values(self, value: Any) -> list[Any] | tuple[Any, ...]:
        values: list[Any] | tuple[Any, ...] = (value,)
        if self.several and not isinstance(value, str | int):
            if not isinstance(value, list | tuple):
                raise NotCanonical(f"got {kind_of(value)}, expected a list")
            values = value
        if len(values) > MAX_ACCESSES:
            raise NotCanonical(f"a list of {len(values)} items names too many resources", code="too_large")
        return [_field(each, self.fields) for each in values] if self.fields else values


def slot_of(found: re.Match[str]) -> Slot:
    """The placeholder that `SLOT` has found."""
    marks = found[2] or ""
    fields = tuple(found[3].split(".")[1:])
    return Slot(found[1], fields, several="*" in marks, optional="?" in marks)


def _field(value: Any, fields: tuple[str, ...]) -> Any:
    for name in fields:
        if not isinstance(value, Mapping):
            raise NotCanonical(f"got {kind_of(value)}, expected an object with {name}")
        if name not in value:
            raise NotCanonical(f"an item has no {name}, and it names the resource")
        value = value[name]
    return value
