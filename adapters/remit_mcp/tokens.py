"""`from_token`: the request brings its grant along, as a signed token.

```python
govern(server, app=app, server="crm", grants=from_token(audience="https://crm.acme.com/mcp"))
```
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import remit
from remit_mcp.grants import Caller, Grants, no_grant

if TYPE_CHECKING:
    from remit.errors import DenialCode
    from remit.tokens import TokenVerifier


class _FromToken(Grants):
    def __init__(self, audience: str | None, verifier: TokenVerifier | None) -> None:
        self._audience = audience
        self._verifier = verifier

    def _judge(self, app: remit.App) -> TokenVerifier:
        if self._verifier is None:
            self._verifier = app.verifier(self._audience, single_use=False)
        return self._verifier

    def find(self, app: remit.App, caller: Caller) -> str:
        if caller.token is None:
            raise no_grant("The request brings no grant token; expected one in _meta under dev.remit/token.")
        try:
            grant = app.grant_of(caller.token, verifier=self._judge(app), proof=caller.proof)
        except remit.IdentityError as error:
            raise _refused(str(error), error.code) from error
        except remit.GrantError as error:
            raise no_grant(str(error)) from error
        for name, said, own in (
            ("agent", caller.agent, grant.agent),
            ("principal", caller.principal, grant.principal),
        ):
            if said is not None and said != own:
                raise _refused(f"The grant token is for another {name} than whoever sent it.", "identity_conflict")
        return grant.id

    def open(self, app: remit.App, caller: Caller, grant_id: str, context: Mapping[str, Any] | None) -> remit.Session:
        return app.session(grant_id, token=caller.token, verifier=self._judge(app), context=context)


def from_token(*, audience: str | None = None, verifier: TokenVerifier | None = None) -> Grants:
    """The client sends its grant as a token, in `_meta` under `dev.remit/token`, with each request.

    The token is verified every time: issuer, signature, audience, time, and every constraint in it. One that names a
    key needs a fresh proof under `dev.remit/proof` (`remit.tokens.prove`). Where the server also knows an access token
    of the caller, both have to be about the same agent and principal. Needs `remit[tokens]`.

    Args:
        audience:
            What tokens for this server say in `aud`; the ledger's own name when omitted.
        verifier:
            For grants of another deployment, which `app.accept` took over.
    """
    return _FromToken(audience, verifier)


def _refused(reason: str, code: str) -> remit.Denied:
    known = code if code in ("audience_mismatch", "identity_conflict") else "grant_invalid"
    return remit.Denied(
        f"{reason[0].upper()}{reason[1:]}",
        code=cast("DenialCode", known),
        rule="remit/from_token",
        remedy=remit.Remedy("request_grant"),
    )


__all__ = ["from_token"]
