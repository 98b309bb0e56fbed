"""What persons do about agents' work with an opened Remit: answer, settle, enrol, accept and review."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from remit import answering, approvals, closing, peopling, pins, recovery, rotating
from remit.approvals import Approval
from remit.identity import Credential
from remit.review import verdicts
from remit.rotating import Rotation

if TYPE_CHECKING:
    from remit.deployment import Deployment


class OverseerActs:
    """Approvals, sessions from outside, people, tools and verdicts. Part of `App`."""

    deployment: Deployment

    # -- approvals

    def pending(self, session_id: str | None = None) -> list[Approval]:
        """Questions that wait for a person, oldest first."""
        return approvals.listed(self.deployment, session_id=session_id, state="requested")

    def approval(self, approval_id: str) -> Approval:
        """One approval as it stands."""
        return approvals.load(self.deployment, approval_id)

    def approve(
        self, approval_id: str, *, credential: Credential | str | None = None, shown: str | None = None
    ) -> Approval:
        """Answer yes, as a person whom the clause or guardrail names. `Session.resume` then runs the call.

        `shown` is `Approval.shown` of what the person looked at: the answer counts for exactly that. Raises
        `IdentityError`, `Denied` (`approval_expired`, `approval_mismatch`).
        """
        self.deployment.require("approve")
        return answering.answer(
            self.deployment, approval_id, approve=True, credential=credential, reason=None, shown=shown
        )

    def refuse(
        self,
        approval_id: str,
        *,
        credential: Credential | str | None = None,
        reason: str | None = None,
        shown: str | None = None,
    ) -> Approval:
        """Answer no: one person's no is enough."""
        self.deployment.require("approve")
        return answering.answer(
            self.deployment, approval_id, approve=False, credential=credential, reason=reason, shown=shown
        )

    # -- sessions and calls, from outside

    def close_session(self, session_id: str, reason: str, *, credential: Credential | str | None = None) -> None:
        """End a session from outside."""
        self.deployment.require("configure")
        closing.close_by_person(self.deployment, session_id, reason, credential)

    def resume_session(self, session_id: str, *, credential: Credential | str | None = None) -> None:
        """Let a suspended session go on: its count of refusals starts anew."""
        self.deployment.require("configure")
        recovery.resume_session(self.deployment, session_id, credential)

    def resolve(
        self,
        call_id: str,
        outcome: Literal["ok", "tool_error", "not_run"],
        *,
        reason: str,
        credential: Credential | str | None = None,
    ) -> None:
        """A person settles a call whose outcome is unknown."""
        self.deployment.require("configure")
        recovery.resolve(self.deployment, call_id, outcome, reason, credential)

    # -- people, tools, verdicts

    def enrol(self, person: str, public_key: str, *, credential: Credential | str | None = None) -> str:
        """Enrol a person's public key (base64). Returns their subject, such as `user:bob@acme.com`."""
        self.deployment.require("configure")
        return peopling.enrol(self.deployment, person, public_key, credential)

    def remove(self, person: str, *, credential: Credential | str | None = None) -> None:
        """Remove a person: their key proves nothing from now on."""
        self.deployment.require("configure")
        peopling.remove(self.deployment, person, credential)

    def rotate_key(self, *, reason: str | None = None, credential: Credential | str | None = None) -> Rotation:
        """Change the log's key: `key.rotated` is the last record that the old one signs for, and from there on the new
        one signs. The old private key is gone. Every process of the deployment follows, or signs nothing any more.

        Raises `IdentityError`, `EvidenceUnavailable`.
        """
        self.deployment.require("configure")
        return rotating.rotate(self.deployment, reason=reason, credential=credential)

    def authenticate(self, credential: Credential) -> str:
        """Check that `credential` proves an enrolled person, and record it. Returns the subject."""
        return peopling.authenticate(self.deployment, credential)

    def accept_tool(self, tool: str, *, credential: Credential | str | None = None) -> None:
        """Accept the definition that a tool has now; until then a changed tool is refused."""
        self.deployment.require("configure")
        pins.accept(self.deployment, tool, credential)

    def verdict(
        self,
        session_id: str,
        verdict: str,
        *,
        reason: str | None = None,
        comment: str | None = None,
        call_id: str | None = None,
        credential: Credential | str | None = None,
    ) -> str:
        """What a reviewer decided of a session, or of one call in it. Returns the id of the record."""
        self.deployment.require("review")
        return verdicts.give(
            self.deployment,
            session_id,
            verdict,
            reason=reason,
            comment=comment,
            call_id=call_id,
            credential=credential,
        )


__all__ = ["OverseerActs"]
