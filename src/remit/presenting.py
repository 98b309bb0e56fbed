"""A token that is presented: what it proves is compared with the grant, recorded, and used once if it must be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from remit import attribution
from remit.attribution import Attribution, Presented, conflict
from remit.authority.compile import CompiledGrant
from remit.errors import IdentityError
from remit.ids import new_id
from remit.parties import Method, Workload

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.ledger import Txn

R = TypeVar("R")


class Shown(NamedTuple):
    """What a token came to before the session is opened: the grant it is for, and what it proves."""

    grant_id: str
    presented: Presented


def run(deployment: Deployment, presented: Presented | None, job: Callable[[Txn], R]) -> R:
    """The opening transaction. A refusal that has to do with the token is recorded before it is raised."""
    if presented is None:
        return deployment.ledger.run(job)
    try:
        return deployment.ledger.run(job)
    except IdentityError as error:
        record_failure(deployment, error, digest=presented.digest, about=presented.as_record())
        raise


def attributed(
    deployment: Deployment, txn: Txn, chain: Sequence[CompiledGrant], workload: Workload, presented: Presented | None
) -> Attribution:
    """Who is behind a session that begins under `chain`. Raises `IdentityError` where token and grant disagree."""
    acting = chain[-1].terms
    if presented is not None and (found := conflict(presented, acting.principal, acting.agent)) is not None:
        raise found[1]
    return Attribution.opening(_principal_known(deployment, txn, chain[0]), workload, presented)


def _principal_known(deployment: Deployment, txn: Txn, root: CompiledGrant) -> Method:
    """How the principal was known when the authority began: proved only where they issued it themselves."""
    row = txn.get("grants", root.terms.id)
    record = deployment.ledger.record(row["record_id"]) if row is not None else None
    issuer: Any = record.data.get("issuer") if record is not None else None
    if not isinstance(issuer, dict) or issuer.get("subject") != root.terms.principal:
        return "claimed"
    method: Method = issuer["method"]
    return method


def rejoin(
    deployment: Deployment, txn: Txn, presented: Presented | None, row: Mapping[str, Any], workload: Workload
) -> None:
    """A token that comes with a session which exists: one of its own, or one that says the same of who asks."""
    if presented is None:
        return
    so_far = attribution.read(row)
    acting = so_far.actors[-1] if so_far.actors else row["agent"]
    found = None if presented.digest in so_far.tokens else conflict(presented, row["principal"], acting)
    if found is not None:
        raise found[1]
    if use_once(txn, presented, row["id"]):
        data = {"workload": workload.as_record(), "token": presented.as_record()}
        txn.append(deployment.ledger.draft("session.joined", session=row["id"], data=data))


def use_once(txn: Txn, presented: Presented | None, session_id: str) -> bool:
    """Note that a token which serves once has served this session; whether that is new. Raises `IdentityError` when it
    served another."""
    if presented is None or presented.once is None:
        return False
    return _spend(txn, presented.once, used_by=session_id, expires=presented.expires)


def use_now(deployment: Deployment, txn: Txn, once: str, *, expires: str, about: Mapping[str, Any]) -> None:
    """Something that may be shown once was shown for this one act, and that is on record: nobody shows it again.

    Raises `IdentityError` when it was shown before.
    """
    use = new_id("p")
    _spend(txn, once, used_by=use, expires=expires)
    spent = {"id": once, "used_by": use, "expires": expires}
    txn.append(deployment.ledger.draft("auth.succeeded", data={**about, "once": spent}))


def _spend(txn: Txn, once: str, *, used_by: str, expires: str) -> bool:
    """`once` is the keyed digest of issuer and `jti`. Raises `IdentityError` for the second use by somebody else."""
    row = txn.get("tokens", once)
    if row is None:
        txn.put("tokens", once, used_by=used_by, expires=expires)
    elif row["used_by"] != used_by:
        raise IdentityError("the token was used before, and it may be used once only; ask for a new one")
    return row is None


def record_failure(
    deployment: Deployment, error: IdentityError, *, digest: str, about: dict[str, Any] | None = None
) -> None:
    """`identity.conflict` when a token contradicts the grant it came with, else `auth.failed`."""
    data: dict[str, Any] = {"method": "token", "code": error.code, "token": about or {"digest": digest}}
    kind = "identity.conflict" if error.code == "identity_conflict" else "auth.failed"
    draft = deployment.ledger.draft(kind, data=data, private={"reason": str(error)})
    deployment.ledger.run(lambda txn: txn.append(draft))


__all__ = ["Shown", "attributed", "record_failure", "rejoin", "run", "use_now", "use_once"]
