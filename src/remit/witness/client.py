"""One witness, as a log sees it: asked over HTTP, within a deadline, believed only for what its key has signed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from remit.errors import EvidenceUnavailable, UsageError, VerificationError
from remit.ledger.notes import WitnessKey, cosignatures, read_note, read_size
from remit.witness.wire import MAX_BODY, SIZE_TYPE, origin_hash, write_submission

try:
    import httpx
except ImportError as error:
    raise UsageError("asking witnesses needs httpx: pip install 'remit[witness]'") from error

TIMEOUT: Final = 5.0
"""Seconds to connect, for each read, and for an answer as a whole."""


class NotCosigned(EvidenceUnavailable):
    """Raised when a witness did not cosign: it cannot be reached, refuses, or answers something else."""


class OtherSize(NotCosigned):
    """Raised when the witness's newest head has another size than the old one that it was told; `known` is its size."""

    def __init__(self, message: str, known: int) -> None:
        super().__init__(message)
        self.known = known


class NotConsistent(NotCosigned):
    """Raised when the witness does not find the head to be a continuation of the last one that it cosigned."""


class WitnessClient:
    """A witness by its key and the address that it is asked at."""

    def __init__(self, key: WitnessKey, url: str, *, timeout: float = TIMEOUT) -> None:
        self.key = key
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._http = httpx.Client(timeout=timeout, follow_redirects=False)

    def add_checkpoint(self, old: int, proof: Sequence[bytes], note: bytes) -> tuple[int, bytes]:
        """The witness's cosignature on a checkpoint: when it was made, and the line for the note.

        Raises `OtherSize`, `NotConsistent`, `NotCosigned`.
        """
        status, kind, body = self._ask("POST", f"{self.url}/add-checkpoint", write_submission(old, proof, note))
        if status == 409:
            raise OtherSize(f"witness {self.key.name} has another head of this log", self._known(kind, body))
        if status == 422:
            raise NotConsistent(
                f"witness {self.key.name} does not find this head consistent with the last one: {_text(body)}"
            )
        if status != 200:
            raise NotCosigned(f"witness {self.key.name} answers {status}: {_text(body)}")
        return self._own(note, body)

    def newest(self, origin: str) -> bytes | None:
        """The newest checkpoint of a log that this witness cosigned, as a note; None when it says that there is none.

        Raises `NotCosigned` when it cannot be had, or is not cosigned by this witness.
        """
        status, _, body = self._ask("GET", f"{self.url}/{origin_hash(origin)}/checkpoint")
        if status == 404:
            return None
        if status != 200:
            raise NotCosigned(f"witness {self.key.name} answers {status} when asked for its newest checkpoint")
        try:
            if self.key not in cosignatures(body, [self.key]):
                raise VerificationError("it carries no cosignature of this witness")
        except (VerificationError, UnicodeDecodeError) as error:
            raise NotCosigned(f"the checkpoint that witness {self.key.name} shows is none: {error}") from error
        return body

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def _own(self, note: bytes, body: bytes) -> tuple[int, bytes]:
        try:
            found = read_note(note + body)
            [moment] = cosignatures(note + body, [self.key]).values()
            [line] = (
                line + b"\n"
                for line, (name, raw) in zip(body.split(b"\n"), found.signatures[-body.count(b"\n") :], strict=False)
                if (name, raw[:4]) == (self.key.name, self.key.key_id)
            )
        except (VerificationError, ValueError) as error:
            why = error if isinstance(error, VerificationError) else "it is not exactly one cosignature of this witness"
            raise NotCosigned(f"the answer of witness {self.key.name} is no cosignature on this head: {why}") from error
        return moment, line

    def _known(self, kind: str, body: bytes) -> int:
        try:
            if kind.partition(";")[0].strip().lower() != SIZE_TYPE or not body.endswith(b"\n"):
                raise VerificationError(f"expected {SIZE_TYPE} and one line")
            return read_size(body[:-1].decode("ascii"))
        except (VerificationError, UnicodeDecodeError) as error:
            raise NotCosigned(f"witness {self.key.name} answers 409 without a size: {error}") from error

    def _ask(self, method: str, url: str, content: bytes | None = None) -> tuple[int, str, bytes]:
        """Status, content type and body of an answer."""
        body, deadline = bytearray(), time.monotonic() + self._timeout
        headers = {"accept-encoding": "identity"} | ({} if content is None else {"content-type": "text/plain"})
        try:
            with self._http.stream(method, url, content=content, headers=headers) as answer:
                for chunk in answer.iter_raw():
                    body += chunk
                    if len(body) > MAX_BODY:
                        raise NotCosigned(f"witness {self.key.name} answers with more than {MAX_BODY} bytes")
                    if time.monotonic() > deadline:
                        raise NotCosigned(f"witness {self.key.name} takes more than {self._timeout:g} s to answer")
                if answer.is_redirect:
                    raise NotCosigned(f"witness {self.key.name} redirects; redirects are not followed")
                return answer.status_code, answer.headers.get("content-type", ""), bytes(body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NotCosigned(
                f"witness {self.key.name} at {self.url} cannot be reached: {type(error).__name__}"
            ) from error


def _text(body: bytes) -> str:
    """What an answer says, short and printable."""
    said = body[:200].decode("ascii", errors="replace").strip()
    return "".join(letter if letter.isprintable() else " " for letter in said) or "(no reason given)"
