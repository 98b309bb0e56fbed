"""What issuers do with an opened Remit: give authority, change it, hand it on, withdraw it, and send it elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remit import amending, delegating, issuing, requesting
from remit.authority.durations import read_span
from remit.identity import Credential
from remit.issuing import Grant
from remit.requesting import GrantRequest

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.tokens import TokenVerifier


class IssuerActs:
    """Grants and their tokens. Part of `App`."""

    deployment: Deployment

    # -- grants

    def issue(
        self,
        source: str | Path | Mapping[str, Any] | bytes,
        parameters: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        credential: Credential | str | None = None,
    ) -> Grant:
        """Issue a grant from a file, YAML text, bytes or mapping: signed and recorded.

        With `key`, issuing is repeatable: the same content gives the live grant again, other content is an error.
        Raises `GrantError` with line and reason, `IdentityError`.
        """
        return issuing.issue(self.deployment, source, parameters, key=key, credential=credential)

    def amend(
        self,
        grant: Grant | str,
        changes: str | Path | Mapping[str, Any] | bytes | None = None,
        parameters: Mapping[str, Any] | None = None,
        *,
        without: Iterable[str] = (),
        version: int | None = None,
        request: GrantRequest | str | None = None,
        reason: str | None = None,
        credential: Credential | str | None = None,
    ) -> Grant:
        """The next version of a grant under the same id: its sessions go on with it from their next call.

        `changes` names what becomes other (task, window, limits, bindings, delegation; under `tools` each tool that is
        named is added or replaced), and `without` the tools that are taken away. A source that names the principal is a
        whole grant and replaces everything. `expires_in` counts from now. The version that this is written for is that
        of `grant`, or of `request` (whose own changes are taken where none are given), or `version`: another one in the
        meantime is an error. Raises `GrantError`, `IdentityError` (only who may issue it may widen it).
        """
        asked = self.request(request) if isinstance(request, str) else request
        return amending.amend(
            self.deployment,
            grant,
            changes,
            parameters,
            without=without,
            version=version,
            request=asked,
            reason=reason,
            credential=credential,
        )

    def delegate(
        self,
        grant: Grant | str,
        source: str | Path | Mapping[str, Any] | bytes,
        parameters: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        credential: Credential | str | None = None,
    ) -> Grant:
        """Hand a grant on, narrower: a child grant for another agent, below `grant` and never able to do more.

        `source` is a grant in any form that `issue` takes, without `principal`, `self` and `bindings`, which are the
        parent's. Each of its clauses is narrower than one clause of the parent whole; limits, approvals and bounds of
        the parent are said again or made tighter, and it ends no later. Limits count on parent and child together.
        Raises `DelegationWidened` with every reason (`.problems`; `delegation_too_deep`, `delegate_only` by `.code`),
        `GrantError`, `IdentityError`.
        """
        name = grant.id if isinstance(grant, Grant) else grant
        return delegating.delegate(self.deployment, name, source, parameters, key=key, credential=credential)

    def requests(self, grant_id: str | None = None) -> list[GrantRequest]:
        """What agents asked for (`Session.request`) and nobody has answered, oldest first."""
        return requesting.listed(self.deployment, grant_id=grant_id, state="requested")

    def request(self, request_id: str) -> GrantRequest:
        """One request as it stands."""
        return requesting.load(self.deployment, request_id)

    def refuse_request(
        self, request_id: str, *, reason: str | None = None, credential: Credential | str | None = None
    ) -> GrantRequest:
        """Answer an agent's request with no. `App.amend(…, request=…)` answers with yes."""
        return requesting.refuse(self.deployment, request_id, reason=reason, credential=credential)

    def revoke(self, grant_id: str, *, reason: str, credential: Credential | str | None = None) -> Grant:
        """Withdraw a grant: its sessions are refused from the next call on."""
        return issuing.revoke(self.deployment, grant_id, reason=reason, credential=credential)

    def grant(self, grant_id: str) -> Grant:
        """One grant as it stands."""
        return issuing.load(self.deployment, grant_id)

    # -- tokens (`remit[tokens]`; imported where they are used, so that the core does without)

    def token(
        self,
        grant: Grant | str,
        *,
        audience: str | Iterable[str],
        confirm: Mapping[str, Any] | None = None,
        expires_in: str | timedelta | None = None,
        credential: Credential | str | None = None,
    ) -> str:
        """A grant as a signed JWT, to cross a process: for `audience`, bound to the public JWK `confirm` where given.

        It ends with the grant, after `expires_in`, or after a day. The record keeps its keyed digest, never the token.
        Raises `GrantError`, `IdentityError`, `UsageError`.
        """
        from remit import tokening

        name, span = grant.id if isinstance(grant, Grant) else grant, read_span("expires_in", expires_in)
        return tokening.token(
            self.deployment, name, audience=audience, confirm=confirm, expires_in=span, credential=credential
        )

    def jwks(self) -> dict[str, Any]:
        """The key set to publish, so that others can verify this deployment's tokens (issuer: the ledger's origin)."""
        from remit import tokening

        return tokening.jwks(self.deployment)

    def verifier(self, audience: str | Iterable[str] | None = None, *, single_use: bool = True) -> TokenVerifier:
        """What accepts this deployment's own grant tokens, meant for `audience` (itself when omitted)."""
        from remit import tokening

        return tokening.own_verifier(self.deployment, audience, single_use=single_use)

    def grant_of(self, token: str, *, verifier: TokenVerifier | None = None, proof: str | None = None) -> Grant:
        """The grant in this ledger that a grant token stands for, once the token is verified. Nothing is opened.

        Raises `IdentityError` (`audience_mismatch` for a token meant for others), `GrantError`.
        """
        from remit import tokening

        return tokening.find(self.deployment, token, verifier, proof)

    def accept(
        self,
        token: str,
        *,
        verifier: TokenVerifier,
        proof: str | None = None,
        credential: Credential | str | None = None,
    ) -> Grant:
        """Take over the grant that another deployment's token carries: issued here, recorded with where it came from.

        Its limits count here from nothing. Accepting it again gives the same grant. Raises `IdentityError` for a token
        that `verifier` refuses or that holds a constraint which is not known here.
        """
        from remit import tokening

        return tokening.accept(self.deployment, token, verifier=verifier, proof=proof, credential=credential)


__all__ = ["IssuerActs"]
