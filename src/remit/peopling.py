"""Enrolling, removing and recognising people: recorded in the same ledger as the agents (invariant 8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlmodel import col

from remit.errors import IdentityError, UsageError
from remit.identity import Credential, TokenCredential, subject_of
from remit.signing import VerifyingKey
from remit.store.tables import PersonRow

if TYPE_CHECKING:
    from remit.deployment import Deployment
    from remit.ledger import Txn

ADMIN = "role:admin"
"""Who may enrol and remove others, once anybody is enrolled who holds it."""


def enrol(deployment: Deployment, person: str, public_key: str, credential: Credential | str | None) -> str:
    """See `App.enrol`. The first person of a deployment enrols without a credential; then it takes an administrator,
    or, where the people file names none, anybody who is enrolled."""
    subject = subject_of(person)
    key = VerifyingKey.parse(public_key)

    def job(txn: Txn) -> None:
        deployment.record_configuration(txn)
        row = txn.get("people", subject)
        if row is not None and row["state"] == "enrolled":
            if row["key"] == key.text:
                return
            raise UsageError(f"{subject} is enrolled with another key; remove that one first (`remit person remove`)")
        by = _authority(deployment, txn, credential, act="person.enrol", subject=subject, key=key.text)
        appended = txn.append(
            deployment.ledger.draft(
                "person.enrolled",
                data={
                    "person": subject,
                    "key": key.text,
                    "roles": sorted(deployment.people.roles(subject)),
                    "by": by,
                },
            )
        )
        txn.put("people", subject, key=key.text, state="enrolled", record_id=appended.id)

    deployment.ledger.run(job)
    return subject


def remove(deployment: Deployment, person: str, credential: Credential | str | None) -> None:
    """See `App.remove`."""
    subject = subject_of(person)

    def job(txn: Txn) -> None:
        row = txn.get("people", subject)
        if row is None or row["state"] != "enrolled":
            raise UsageError(f"{subject} is not enrolled; `remit person list` shows who is")
        by = _authority(deployment, txn, credential, act="person.remove", subject=subject, key=row["key"])
        appended = txn.append(
            deployment.ledger.draft("person.removed", data={"person": subject, "key": row["key"], "by": by})
        )
        txn.put("people", subject, state="removed", record_id=appended.id)

    deployment.ledger.run(job)


def _authority(
    deployment: Deployment, txn: Txn, credential: Credential | str | None, *, act: str, subject: str, key: str
) -> dict[str, Any]:
    txn.hold("people", "*")  # two cannot both be the first
    if credential is None and not txn.rows(select(col(PersonRow.id)).limit(1)):  # nobody was ever enrolled here
        return {"subject": "first person", "authenticated": False, "method": "bootstrap", "roles": []}
    return administrator(deployment, txn, credential, act=act, about={"person": subject, "key": key})


def administrator(
    deployment: Deployment, txn: Txn, credential: Credential | str | None, *, act: str, about: Mapping[str, Any]
) -> dict[str, Any]:
    """Who does this, as records say it: an administrator, or, where the people file names none, anybody enrolled.

    Raises `IdentityError`.
    """
    who = deployment.identify(txn, credential, act=act, about=about)
    administrators = [name for name, roles in deployment.people.roles_by_subject.items() if "admin" in roles]
    if administrators and not deployment.development and not who.holds([ADMIN]):
        raise IdentityError(f"{who.subject} may not do that: it takes {ADMIN}, which {', '.join(administrators)} hold")
    return who.as_record()


def authenticate(deployment: Deployment, credential: Credential) -> str:
    """See `App.authenticate`: success and failure are both recorded."""

    def job(txn: Txn) -> str | IdentityError:
        try:
            who = deployment.identify(txn, credential, act="auth.login", about={})
        except IdentityError as error:
            txn.append(
                deployment.ledger.draft(
                    "auth.failed",
                    data={
                        "claimed": credential.subject,
                        "key": credential.key_id,
                        "method": "token" if isinstance(credential, TokenCredential) else "ed25519",
                    },
                    private={"reason": str(error)},
                )
            )
            return error
        txn.append(deployment.ledger.draft("auth.succeeded", data={"by": who.as_record()}))
        return who.subject

    found = deployment.ledger.run(job)
    if isinstance(found, IdentityError):
        raise found
    return found
