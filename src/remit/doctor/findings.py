"""One thing that was looked at."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

State = Literal["ok", "warn", "fail"]
"""`ok`; `warn`: worth knowing, recording goes on; `fail`: needs a person now."""


class Finding(NamedTuple):
    """`said` is what was found, `do` what helps against it (empty where nothing has to be done)."""

    what: str
    state: State
    said: str
    do: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return self._asdict()
