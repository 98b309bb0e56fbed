"""The values that a grant's models are made of: each strict, each open to a template's parameter of the right type."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from remit.authority.constraints import Reader
from remit.authority.durations import parse_moment, parse_span
from remit.authority.keys import grant_tool_key
from remit.authority.literals import Slot, check_text, show
from remit.authority.names import check_by
from remit.authority.refusal import Refusal
from remit.errors import GrantError


def open_to(*kinds: str) -> WrapValidator:
    """Let an open parameter of these kinds stand where the value will be."""

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        if not isinstance(value, Slot):
            return handler(value)
        if value.filled:
            return handler(value.value)
        if not value.kinds <= set(kinds):
            raise Refusal(f"{value!r} may be a {' or '.join(sorted(value.kinds))}; expected {' or '.join(kinds)}")
        return value

    return WrapValidator(validate)


def one_or_more(value: Any) -> Any:
    """A bare scalar where a list may stand is a list of one; lists become tuples."""
    if isinstance(value, list):
        return tuple(value)
    return (value,) if isinstance(value, str | Slot) else value


def reader_of(info: ValidationInfo) -> Reader:
    assert isinstance(info.context, Reader)
    return info.context


# the outermost validator stands last, so an open parameter is seen before anything that expects a value
Text = Annotated[str, BeforeValidator(lambda value: text_of(value)), open_to("string")]
Count = Annotated[int, Field(ge=1, le=10**9), open_to("integer")]
Span = Annotated[timedelta, BeforeValidator(parse_span), open_to("string")]
Moment = Annotated[datetime, BeforeValidator(parse_moment), open_to("string")]
By = Annotated[str, BeforeValidator(lambda value: check_by(text_of(value))), open_to("string")]


def text_of(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise Refusal(f"got {show(value)}, expected text")
    check_text(value)
    return value


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)


def tool_key_of(text: Any) -> str:
    try:
        return grant_tool_key(text)
    except GrantError as error:
        raise Refusal(str(error)) from None
