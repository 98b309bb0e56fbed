"""Grants as tokens, and sessions from tokens: what leaves this process signed, and what comes in verified."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from remit import issuing
from remit.attribution import Presented
from remit.authority.breadth import check_breadth
from remit.authority.compile import compile_grant
from remit.authority.durations import show_moment
from remit.authority.terms import GrantTerms, issue_terms
from remit.errors import GrantError, IdentityError, UsageError
from remit.ids import new_id
from remit.ledger.canonical import canonical
from remit.parties import check_agent, named_agent, subject_of
from remit.presenting import Shown, record_failure
from remit.tokens.jose import Key, jwk_of, public_jwk, sign, thumbprint
from remit.tokens.projection import TOKEN_TYPE, content_from, grant_claims
from remit.tokens.proof import check_proof
from remit.tokens.verifying import TokenVerifier, VerifiedToken

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.identity import Credential
    from remit.issuing import Grant
    from remit.ledger import Txn

MAX_LIFE: Final = timedelta(hours=24)
"""A token cannot be called back where its grant's ledger is out of reach, so none lives longer."""


def jwks(deployment: Deployment) -> dict[str, Any]:
    """The key set to publish so that others can verify this deployment's tokens."""
    return {"keys": [jwk_of(deployment.issue_public)]}


def own_verifier(
    deployment: Deployment, audience: str | Iterable[str] | None = None, *, single_use: bool = True
) -> TokenVerifier:
    """A verifier of this deployment's own grant tokens; `audience` is its own name when omitted."""
    return TokenVerifier(
        deployment.ledger.origin,
        audience or deployment.ledger.origin,
        jwks(deployment),
        algorithms=("EdDSA",),
        types=(TOKEN_TYPE,),
        single_use=single_use,
    )


# -- out


def token(
    deployment: Deployment,
    grant_id: str,
    *,
    audience: str | Iterable[str],
    confirm: Mapping[str, Any] | None,
    expires_in: timedelta | None,
    credential: Credential | str | None,
) -> str:
    """See `App.token`."""
    deployment.require("issue")
    signing = deployment.issue_key
    if signing is None:
        raise UsageError("this handle has no signing key, so it cannot issue tokens")
    meant_for = [audience] if isinstance(audience, str) else list(audience)
    if not meant_for or not all(isinstance(name, str) and name for name in meant_for):
        raise UsageError("a token is meant for somebody: audience= names one or several of them")
    bound = public_jwk(confirm) if confirm is not None else None
    if bound is not None:
        Key(bound)  # one that nobody could prove is refused now

    def job(txn: Txn) -> str:
        who = deployment.identify(txn, credential, act="token.issue", about={"grant": grant_id, "for": meant_for})
        chain = [link.terms for link in deployment.chain(txn, grant_id)]
        expires = _window(txn, chain, expires_in)
        claims = {
            "iss": deployment.ledger.origin,
            "aud": meant_for[0] if len(meant_for) == 1 else meant_for,
            "jti": new_id("t"),
            "iat": int(txn.now.timestamp()),
            "nbf": int(max(txn.now, *(link.not_before for link in chain)).timestamp()),
            "exp": int(expires.timestamp()),
            **({"cnf": {"jwk": bound}} if bound is not None else {}),
            **grant_claims(chain),
        }
        made = sign(signing, claims, typ=TOKEN_TYPE)
        terms = chain[-1]
        txn.append(
            deployment.ledger.draft(
                "token.issued",
                data={
                    "grant": terms.id,
                    "version": terms.version,
                    "digest": deployment.ledger.keyed("token", made),
                    "jti": deployment.ledger.keyed("jti", claims["iss"], claims["jti"]),
                    "audience": meant_for,
                    "expires": show_moment(datetime.fromtimestamp(claims["exp"], UTC)),
                    "principal": terms.principal,
                    "actors": [link.agent for link in chain],
                    "depth": [claims["del_depth"], claims["del_max_depth"]],
                    "confirm": thumbprint(bound) if bound is not None else None,
                    "key": signing.key_id,
                    "by": who.as_record(),
                },
            )
        )
        return made

    return deployment.ledger.run(job)


def _window(txn: Txn, chain: list[GrantTerms], expires_in: timedelta | None) -> datetime:
    """When the token ends: with the grant that ends first, and no later than asked for. Raises `GrantError`."""
    for terms in chain:
        row = txn.get("grants", terms.id)
        if row is None or row["state"] != "active":
            raise GrantError(f"grant {terms.id} was revoked; no token is issued for it")
    if expires_in is not None and not timedelta(0) < expires_in <= MAX_LIFE:
        raise UsageError(f"a token lives longer than nothing and at most {MAX_LIFE}; got {expires_in}")
    ends = min(*(terms.expires for terms in chain), txn.now + (expires_in or MAX_LIFE))
    if int(ends.timestamp()) <= txn.now.timestamp():  # a token says its end in whole seconds
        raise GrantError(f"grant {chain[-1].id} has ended; no token is issued for it")
    return ends


# -- in


def presenting(
    deployment: Deployment,
    grant_id: str | None,
    text: str,
    verifier: TokenVerifier | None,
    proof: str | None,
) -> Callable[[], Shown]:
    """What a session that is given a token does when it opens: verify it, and find the grant.

    With a grant the token says *who* asks (an access token); without, it carries the grant itself.
    """
    if grant_id is not None and verifier is None:
        raise UsageError(
            "token= beside a grant is somebody's access token; pass verifier=, which says whose to believe"
        )

    def present() -> Shown:
        judge = verifier or own_verifier(deployment)
        try:
            found = judge.verify(text, now=deployment.ledger.now())
            if grant_id is not None:
                return Shown(grant_id, presented(deployment, judge, found))
            return Shown(grant_of(deployment, judge, found, proof).id, presented(deployment, judge, found))
        except IdentityError as error:
            record_failure(deployment, error, digest=deployment.ledger.keyed("token", text))
            raise

    return present


def presented(deployment: Deployment, verifier: TokenVerifier, found: VerifiedToken) -> Presented:
    """What records keep of a verified token. Raises `IdentityError` where one that serves once has no `jti`."""
    once = None
    if verifier.single_use:
        if found.jti is None:
            raise IdentityError("the token may be used once only, but has no jti to tell one use from the next")
        once = deployment.ledger.keyed("jti", found.issuer, found.jti)
    return Presented(
        principal=found.principal,
        agents=found.agents,
        issuer=found.issuer,
        subject=found.subject,
        audience=found.audience,
        scopes=found.scopes,
        digest=deployment.ledger.keyed("token", found.text),
        expires=show_moment(found.expires),
        once=once,
    )


def find(deployment: Deployment, text: str, verifier: TokenVerifier | None, proof: str | None) -> Grant:
    """See `App.grant_of`."""
    judge = verifier or own_verifier(deployment)
    return grant_of(deployment, judge, judge.verify(text, now=deployment.ledger.now()), proof)


def grant_of(deployment: Deployment, verifier: TokenVerifier, found: VerifiedToken, proof: str | None) -> Grant:
    """The grant in this ledger that a grant token stands for. Raises `IdentityError`, and `GrantError` when the grant
    is another deployment's and was not accepted here (`App.accept`)."""
    content_from(found.claims)  # whatever is not understood whole is refused, also where the grant is our own
    if found.confirmation is not None:
        check_proof(deployment, verifier, found, proof)
    local = local_id(deployment, found)
    grant = issuing.load(deployment, local)
    if (grant.principal, grant.agent) != (found.principal, _acting(found)):
        raise IdentityError(f"the token says otherwise whose grant {grant.id} is", code="identity_conflict")
    return grant


def local_id(deployment: Deployment, found: VerifiedToken) -> str:
    """Under which id the token's grant is kept here: its own, or for another deployment's the one it was given."""
    said = found.claims.get("grant")
    name = said.get("id") if isinstance(said, Mapping) else None
    if not isinstance(name, str):
        raise IdentityError("the token names no grant")
    if found.issuer == deployment.ledger.origin:
        return name
    key = _key(deployment, found, name)
    content_key = _content_key(deployment, found)
    wanted = deployment.ledger.run(lambda txn: issuing.live(deployment, txn, key, content_key))
    if wanted is None:
        raise GrantError(
            f"the grant of {found.issuer} that the token carries was not accepted here; somebody who may issue grants "
            "calls app.accept(token, verifier=…) first"
        )
    return wanted


def _key(deployment: Deployment, found: VerifiedToken, name: str) -> str:
    return f"token:{deployment.ledger.keyed('grant', found.issuer, name)}"


def _content_key(deployment: Deployment, found: VerifiedToken) -> str:
    said = {"content": content_from(found.claims), "principal": found.principal, "agent": _acting(found)}
    return deployment.ledger.keyed("grant", canonical(said))


def _acting(found: VerifiedToken) -> str:
    if not found.actors:
        raise IdentityError("the token names no agent: it has no act")
    return named_agent(found.actors[-1].subject)


def accept(
    deployment: Deployment,
    text: str,
    *,
    verifier: TokenVerifier,
    proof: str | None,
    credential: Credential | str | None,
) -> Grant:
    """See `App.accept`."""
    deployment.require("issue")
    found = verifier.verify(text, now=deployment.ledger.now())
    content = content_from(found.claims)
    if found.issuer == deployment.ledger.origin:
        return grant_of(deployment, verifier, found, proof)
    if found.confirmation is not None:
        check_proof(deployment, verifier, found, proof)
    result = _result(found, content)
    said: Any = found.claims.get("grant")
    if not isinstance(said, Mapping) or not isinstance(said.get("id"), str):
        raise IdentityError("the token names no grant")
    key, grant_id = _key(deployment, found, said["id"]), new_id("g")
    shown, content_key = presented(deployment, verifier, found), _content_key(deployment, found)

    def job(txn: Txn) -> str:
        if (known := issuing.live(deployment, txn, key, content_key)) is not None:
            return known
        who = deployment.identify(
            txn, credential, act="grant.accept", about={"grant": grant_id, "issuer": found.issuer, "of": said["id"]}
        )
        terms = issue_terms(result, grant_id=grant_id, version=1, issued_at=txn.now, issuer=who.subject)
        check_breadth(terms, deployment.catalogue)
        compile_grant(terms)
        issuing.check_ceilings(deployment, txn, terms, who)
        issuing.record(
            deployment,
            txn,
            result["source"],
            terms,
            who,
            key=key,
            content_key=content_key,
            more={"from_token": {**shown.as_record(), "of": said["id"], "depth": found.claims.get("del_depth")}},
        )
        return grant_id

    return issuing.load(deployment, deployment.ledger.run(job))


def _result(found: VerifiedToken, content: Mapping[str, Any]) -> dict[str, Any]:
    """Canonical content with the token's own principal, agent and window. Depth left: never more than it says."""
    depth, most = (found.claims.get(name) for name in ("del_depth", "del_max_depth"))
    if type(depth) is not int or type(most) is not int or not 0 <= depth <= most <= 100:
        raise IdentityError("the token does not say how deep its grant was handed on: del_depth, del_max_depth")
    delegation = content["delegation"]
    if not isinstance(delegation, Mapping) or delegation.get("depth") != most - depth:
        raise IdentityError("the token says two things of how deep its grant may be handed on")
    subject_of(found.principal)
    begins = found.claims.get("nbf", found.claims.get("iat"))
    return {
        **content,
        "template": None,
        "parameters": {},
        "source": f"sha256:{hashlib.sha256(canonical(dict(content))).hexdigest()}",
        "principal": found.principal,
        "agent": check_agent(_acting(found)),
        "issue": None,
        "expires_in": None,
        "not_before": show_moment(datetime.fromtimestamp(begins, UTC)) if begins is not None else None,
        "expires": show_moment(found.expires),
    }


__all__ = ["accept", "grant_of", "jwks", "own_verifier", "presented", "presenting", "token"]
