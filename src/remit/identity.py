"""Who a person or service is, and how that is known.

What is only said is *claimed*; what a credential proves is *authenticated*. Both are recorded, apart. A credential
here is a personal Ed25519 key, or a token of an identity provider (`Identity.method` says which).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remit.authority.durations import show_moment
from remit.errors import IdentityError, UsageError
from remit.ledger.canonical import canonical
from remit.parties import Agent, Method, Workload, check_agent, login, process_workload, subject_of
from remit.resources.yaml_source import load_strict
from remit.signing import STATEMENT_TYPE, SigningKey, VerifyingKey

if TYPE_CHECKING:
    from remit.tokens.verifying import TokenVerifier, VerifiedToken


@dataclass(frozen=True, slots=True)
class Identity:
    """A subject together with the proof of it, in the form that records keep.

    `statement` are the exact bytes that were signed: what was done, to what, when, and in which log.
    """

    subject: str
    authenticated: bool
    method: Method
    roles: frozenset[str] = frozenset()
    key_id: str | None = None
    statement: str | None = None
    signature: str | None = None
    issuer: str | None = None
    token: str | None = None
    """Whose token named the subject, and its keyed digest, where that is the proof."""

    def as_record(self) -> dict[str, Any]:
        """The leaf form. Roles are those that were in force at that moment."""
        record: dict[str, Any] = {
            "subject": self.subject,
            "authenticated": self.authenticated,
            "method": self.method,
            "roles": sorted(self.roles),
        }
        if self.signature is not None:
            record |= {"key": self.key_id, "statement": self.statement, "signature": self.signature}
        if self.token is not None:
            record |= {"key": self.key_id, "issuer": self.issuer, "token": self.token}
        return record

    def holds(self, wanted: Iterable[str]) -> bool:
        """Whether this identity is one of `wanted`: `role:finance`, or a subject such as `user:bob@acme.com`."""
        return any(name == self.subject or (name.startswith("role:") and name[5:] in self.roles) for name in wanted)


class Credential:
    """Proof of who a person or service is: their personal Ed25519 key, or (`from_token`) their provider's token.

    It signs one statement an act; the private key never leaves the object, and no record carries it.
    """

    __slots__ = ("_key", "subject")

    def __init__(self, subject: str, key: SigningKey) -> None:
        self.subject = subject_of(subject)
        self._key = key

    def __repr__(self) -> str:
        return f"Credential({self.subject!r}, key {self._key.key_id})"

    @classmethod
    def load(cls, person: str, key_file: str | Path) -> Credential:
        """The credential of `person` from their key file (PKCS#8 PEM, as `remit person add` writes it)."""
        return cls(person, SigningKey.load(Path(key_file)))

    @classmethod
    def generate(cls, person: str, key_file: str | Path | None = None) -> Credential:
        """A new key for `person`, saved to `key_file` when one is named. It proves nothing until it is enrolled."""
        key = SigningKey.generate()
        if key_file is not None:
            key.save(Path(key_file))
        return cls(person, key)

    @classmethod
    def from_token(cls, token: str, verifier: TokenVerifier) -> TokenCredential:
        """The credential of whoever `verifier`'s issuer (an OpenID provider) says that `token` is about.

        The token is verified now, and its time again at each act. Roles come from `people.yaml`, never from the token.
        Raises `IdentityError`.
        """
        return TokenCredential(token, verifier)

    @property
    def public_key(self) -> str:
        """The public half in base64: what `remit person add` enrols."""
        return self._key.public.text

    @property
    def key_id(self) -> str:
        """Names the key in records."""
        return self._key.key_id

    def sign(self, statement: bytes) -> str:
        """Signature (base64) over one statement."""
        return self._key.sign(STATEMENT_TYPE, statement)


class TokenCredential(Credential):
    """Proof of who a person is by a token of their identity provider. Made by `Credential.from_token`."""

    __slots__ = ("_found", "verifier")

    def __init__(self, token: str, verifier: TokenVerifier) -> None:
        self._found = verifier.verify(token)
        self.subject = self._found.principal
        self.verifier = verifier

    def __repr__(self) -> str:
        return f"Credential({self.subject!r}, token of {self.verifier.issuer})"

    @property
    def public_key(self) -> str:
        """There is none."""
        raise UsageError(f"{self.subject} is known by a token, which has no key to enrol")

    @property
    def key_id(self) -> str:
        """Names the issuer, whose keys they are."""
        return self.verifier.issuer

    def sign(self, statement: bytes) -> str:
        """Raises `UsageError`: a token proves who, and signs nothing."""
        raise UsageError(f"{self.subject} is known by a token, which signs nothing; use a personal key for that")

    def prove(self, now: datetime) -> VerifiedToken:
        """What the token still proves at this moment. Asks nobody, since writers wait meanwhile.

        Raises `IdentityError`.
        """
        found = self._found
        self.verifier.check_time(found.claims, now)
        if found.actors:
            raise IdentityError(
                f"the token says that {found.actors[-1].subject} acts for {found.subject}; a person's act takes a "
                "token that is theirs alone"
            )
        return found


@dataclass(frozen=True, slots=True)
class People:
    """Roles, as `policies/people.yaml` gives them: `people: {bob@acme.com: {roles: [finance, reviewer]}}`."""

    roles_by_subject: Mapping[str, frozenset[str]] = field(default_factory=dict)
    content: bytes = b'{"people":{}}'

    @classmethod
    def load(cls, path: str | Path) -> People:
        """Read the file. Raises `UsageError` when it is missing, `GrantError` with the line when it is not strict."""
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot read the people file {path}: {error.strerror}") from error
        tree = load_strict(text, name=str(path)).tree
        if not isinstance(tree, dict) or set(tree) != {"people"} or not isinstance(tree["people"], dict):
            raise UsageError(f"{path}: expected one key `people:` with a map of person → {{roles: [...]}}")
        return cls.of(tree["people"], name=str(path))

    @classmethod
    def of(cls, people: Mapping[str, Any], *, name: str = "people") -> People:
        """From a mapping person → `{roles: [...]}`."""
        roles: dict[str, frozenset[str]] = {}
        for person, entry in people.items():
            subject = subject_of(person)
            held = entry.get("roles") if isinstance(entry, Mapping) else None
            if not isinstance(held, list) or not all(isinstance(role, str) and role for role in held):
                raise UsageError(f"{name}: {person} has no list of roles; expected {person}: {{roles: [reviewer]}}")
            if set(entry) != {"roles"}:
                raise UsageError(f"{name}: {person} has unknown keys {sorted(set(entry) - {'roles'})}; expected roles")
            if subject in roles:
                raise UsageError(f"{name}: {subject} is listed twice")
            roles[subject] = frozenset(held)
        plain = {subject: {"roles": sorted(held)} for subject, held in roles.items()}
        return cls(roles, canonical({"people": plain}))

    def roles(self, subject: str) -> frozenset[str]:
        """The roles of `subject`; nobody unknown has any."""
        return self.roles_by_subject.get(subject, frozenset())


class Authenticator:
    """Turns what a caller hands in as `credential` into an `Identity`, or refuses.

    `keys` gives the enrolled public key of a subject (None: not enrolled, or removed).
    """

    def __init__(self, *, origin: str, people: People, development: bool) -> None:
        self._origin = origin
        self.people = people
        self._development = development

    def identify(
        self,
        credential: Credential | str | None,
        *,
        act: str,
        about: Mapping[str, Any],
        enrolled_key: str | None,
        now: datetime,
    ) -> Identity:
        """Prove that the holder of `credential` does `act` to `about`, now, in this log.

        Raises `IdentityError`: nothing given outside development, not enrolled, or a key that is not the enrolled one.
        """
        if credential is None or isinstance(credential, str):
            return self._claimed(credential, act)
        if not isinstance(credential, Credential):
            raise IdentityError(f"{act} needs a remit.Credential; got a {type(credential).__name__}")
        if enrolled_key is None:
            raise IdentityError(
                f"{credential.subject} is not enrolled here; enrol the key with "
                f"`remit person add {credential.subject.removeprefix('user:')} --key {credential.public_key}`"
            )
        statement = canonical(
            {
                "v": 1,
                "log": self._origin,
                "subject": credential.subject,
                "act": act,
                "about": dict(about),
                "time": show_moment(now),
            }
        )
        signature = credential.sign(statement)
        key = VerifyingKey.parse(enrolled_key)
        if key.key_id != credential.key_id:
            raise IdentityError(
                f"the key handed in for {credential.subject} is {credential.key_id}, the enrolled one is {key.key_id}"
            )
        key.verify(STATEMENT_TYPE, statement, signature)
        return Identity(
            subject=credential.subject,
            authenticated=True,
            method="ed25519",
            roles=self.people.roles(credential.subject),
            key_id=key.key_id,
            statement=statement.decode(),
            signature=signature,
        )

    def _claimed(self, credential: str | None, act: str) -> Identity:
        if not self._development:
            given = "no credential" if credential is None else f"only the name {credential!r}"
            raise IdentityError(
                f"{act} needs a credential that proves who asks, but {given} was given; pass "
                "credential=remit.Credential.load(PERSON, KEY_FILE), or open with development=True to accept claims"
            )
        subject = subject_of(credential) if credential is not None else f"user:{login()}"
        return Identity(subject=subject, authenticated=False, method="claimed", roles=self.people.roles(subject))


__all__ = [
    "Agent",
    "Authenticator",
    "Credential",
    "Identity",
    "Method",
    "People",
    "TokenCredential",
    "Workload",
    "check_agent",
    "process_workload",
    "subject_of",
]
