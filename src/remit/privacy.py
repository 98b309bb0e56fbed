"""What a deployment keeps of arguments and results, and what it only commits to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Final

from remit import detecting
from remit.errors import UsageError
from remit.ledger.values import MAX_SIZE

DETECT: Final = "REMIT_DETECT"
RESULTS: Final = "REMIT_RESULTS"

DEFAULT_RESULTS: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Privacy:
    """What `remit.open(…, privacy=…)` takes; every change of it is recorded (`config.changed`).

    `detect`: secrets of known shape in arguments, results, errors and context are only committed to, marked or not.
    `results`: bytes up to which a result is kept, encrypted; of a larger one the ledger has commitment and size.
    """

    detect: bool = True
    results: int = DEFAULT_RESULTS

    def __post_init__(self) -> None:
        if isinstance(self.results, bool) or not isinstance(self.results, int) or not 0 <= self.results <= MAX_SIZE:
            raise UsageError(f"results={self.results!r} is no number of bytes from 0 to {MAX_SIZE}")

    @classmethod
    def from_environment(cls) -> Privacy:
        """The defaults, or what `$REMIT_DETECT` (`on`, `off`) and `$REMIT_RESULTS` (bytes) say. Raises `UsageError`."""
        detect = os.environ.get(DETECT) or "on"
        if detect not in ("on", "off"):
            raise UsageError(f"${DETECT} is {detect!r}; expected on or off")
        results = os.environ.get(RESULTS) or str(DEFAULT_RESULTS)
        if not results.isascii() or not results.isdigit():
            raise UsageError(f"${RESULTS} is {results!r}; expected a number of bytes")
        return cls(detect == "on", int(results))

    def detector(self) -> detecting.ShapeDetector | None:
        """The detector, loaded; None where it is turned off. Raises `UsageError`."""
        return detecting.load() if self.detect else None

    def as_record(self) -> dict[str, Any]:
        """What `config.changed` says of it."""
        return {"detector": detecting.described() if self.detect else "off", "results": self.results}
