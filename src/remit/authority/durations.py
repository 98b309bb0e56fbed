"""Spans, rates and moments as a grant writes them: `20m`, `20/day`, `2026-11-24T09:00:00Z` (RFC 3339)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from remit.authority.refusal import Refusal
from remit.errors import UsageError

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SPAN: Final = re.compile(r"(?=.)" + "".join(f"(?:[0-9]{{1,6}}{unit})?" for unit in "wdhms") + r"\Z")
_PART: Final = re.compile(r"([0-9]+)([wdhms])")
_RATE: Final = re.compile(r"([0-9]{1,6})/(minute|hour|day|week)\Z")
_PER: Final = {"minute": 60, "hour": 3600, "day": 86400, "week": 604800}
_MOMENT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})\Z"
)


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` times in any stretch of `seconds`."""

    count: int
    seconds: int

    @property
    def period(self) -> timedelta:
        """The stretch of time."""
        return timedelta(seconds=self.seconds)

    def __str__(self) -> str:
        unit = next(name for name, seconds in _PER.items() if seconds == self.seconds)
        return f"{self.count}/{unit}"


def parse_span(text: object) -> timedelta:
    """`20m`, `90s`, `1h30m`, `2d`, `1w`. Raises `Refusal` for anything else, and for nothing at all (`0m`)."""
    if not isinstance(text, str) or not _SPAN.match(text):
        raise Refusal(f"got {text!r}, expected a span of time with its unit, such as 20m, 90s, 1h30m or 2d")
    seconds = sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if seconds == 0:
        raise Refusal(f"got {text!r}, expected a span longer than nothing")
    return timedelta(seconds=seconds)


def read_span(argument: str, given: str | timedelta | None) -> timedelta | None:
    """A span that a program gives as `argument`, in words or not at all. Raises `UsageError`."""
    if given is None or isinstance(given, timedelta):
        return given
    try:
        return parse_span(given)
    except Refusal as error:
        raise UsageError(f"{argument}: {error}") from error


def show_span(span: timedelta) -> str:
    """A span as a grant writes it, largest unit first: `1h30m`."""
    left = int(span.total_seconds())
    parts = []
    for unit in ("d", "h", "m", "s"):
        number, left = divmod(left, _UNITS[unit])
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"


def parse_rate(text: object) -> Rate:
    """`20/day`: a whole number per minute, hour, day or week. Raises `Refusal` otherwise."""
    found = _RATE.match(text) if isinstance(text, str) else None
    if found is None or int(found[1]) == 0:
        raise Refusal(f"got {text!r}, expected a rate such as 20/day (per minute, hour, day or week)")
    return Rate(int(found[1]), _PER[found[2]])


def parse_moment(text: object) -> datetime:
    """An RFC 3339 date and time with its offset, as UTC. Raises `Refusal` otherwise."""
    if isinstance(text, str) and _MOMENT.match(text):
        try:
            return datetime.fromisoformat(text.upper().replace("Z", "+00:00")).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise Refusal(f"got {text!r}, which is not a moment on the calendar ({error})") from error
    raise Refusal(f"got {text!r}, expected an RFC 3339 moment with its offset, such as 2026-11-24T09:00:00Z")


def show_moment(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds, the one form that Remit stores."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def say_moment(moment: datetime) -> str:
    """A moment for a sentence: `2026-11-24 09:00:00 UTC`."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
