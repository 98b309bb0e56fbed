"""Pydantic models made without validating again: a subclass of a model's class, and an object with a model's state."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel


def subclass(base: type[BaseModel], marker: type | None, members: Mapping[str, Any]) -> type[Any]:
    """A subclass of `base`, called `Governed…` when it has a marker, in the module of `base`."""
    prefix, bases = ("Governed", (marker, base)) if marker is not None else ("", (base,))
    body = {"__module__": base.__module__, "__qualname__": prefix + base.__qualname__, "__doc__": base.__doc__}
    return types.new_class(prefix + base.__name__, bases, exec_body=lambda names: names.update(body | dict(members)))


def like(model: BaseModel, kind: type[Any], state: dict[str, Any], private: dict[str, Any] | None) -> Any:
    """An object of class `kind` with this state, made as pydantic copies models."""
    made: Any = object.__new__(kind)
    object.__setattr__(made, "__dict__", state)
    object.__setattr__(made, "__pydantic_fields_set__", set(model.__pydantic_fields_set__))
    object.__setattr__(made, "__pydantic_extra__", model.__pydantic_extra__)
    object.__setattr__(made, "__pydantic_private__", private)
    return made
