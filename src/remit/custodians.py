"""What persons do with the text that records keep apart: erase, reveal, disclose. The leaves stay as they are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remit import erasing, revealing
from remit.erasing import Erasure
from remit.identity import Credential
from remit.ledger.disclosures import Disclosure

if TYPE_CHECKING:
    from remit.bundle.exporting import Exported
    from remit.deployment import Deployment


class CustodianActs:
    """Acts on the private values of records. Part of `App`."""

    deployment: Deployment

    def erase(
        self,
        *,
        records: Iterable[str] = (),
        session: str | None = None,
        subject: str | None = None,
        reason: str,
        basis: str | None = None,
        credential: Credential | str | None = None,
    ) -> Erasure:
        """Destroy the text of some records, of a closed session, or of everything done for a subject. It cannot be
        undone. Leaves and proofs stay; `evidence.erased` says who did it, why, and on which `basis`.

        Raises `UsageError` where nothing is left to erase or a session still runs, `IdentityError`.
        """
        self.deployment.require("configure")
        return erasing.erase(
            self.deployment,
            records=records,
            session=session,
            subject=subject,
            reason=reason,
            basis=basis,
            credential=credential,
        )

    def reveal(
        self, record: str, path: str, *, reason: str | None = None, credential: Credential | str | None = None
    ) -> Any:
        """One private value of a record, such as `/arguments/body`, unmasked. Recorded as `review.revealed` first.

        What is secret is kept nowhere, so it reads `[secret]` here too. Raises `UsageError`, `IdentityError`.
        """
        self.deployment.require("review")
        return revealing.reveal(self.deployment, record, path, reason=reason, credential=credential)

    def disclose(
        self,
        record: str,
        path: str,
        *,
        recipient: str,
        reason: str | None = None,
        credential: Credential | str | None = None,
    ) -> Disclosure:
        """One private value with what proves it against the leaf, and nothing of the values beside it.

        Recorded as `evidence.exported`, for `recipient`. Raises `UsageError` for a path that the leaf does not commit
        to on its own.
        """
        self.deployment.require("review")
        return revealing.disclose(
            self.deployment, record, path, recipient=recipient, reason=reason, credential=credential
        )

    def export(
        self,
        path: str | Path,
        *,
        session: str | None = None,
        start: str | None = None,
        end: str | None = None,
        disclose: Iterable[str] = (),
        since: str | Path | None = None,
        recipient: str | None = None,
        credential: Credential | str | None = None,
    ) -> Exported:
        """Write evidence that others verify offline, to a folder or a `.zip`: of one session, of the records from
        `start` to `end` (indexes or times), or, with none of these, of the whole log.

        `disclose` names the text that it shows, which is none otherwise: `everything`, `arguments`, `arguments.amount`.
        `since` is a checkpoint that the receiver kept. Recorded as `evidence.exported`, with the digest of what left.
        Raises `UsageError`, `IdentityError`, `EvidenceUnavailable`.
        """
        from remit.bundle.exporting import export  # its pages need a template engine, which nothing else does

        return export(
            self.deployment,
            Path(path),
            session=session,
            start=start,
            end=end,
            disclose=disclose,
            since=Path(since) if since is not None else None,
            recipient=recipient,
            credential=credential,
        )
