"""`remit.open(…)`: from a URL, files and folders to an `App`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from remit.app import App
from remit.authority.durations import read_span
from remit.authority.guardrails import OwnFiles
from remit.deployment import CAPABILITIES, Deployment, logger
from remit.durability import read_wait
from remit.errors import UsageError
from remit.identity import Authenticator, People
from remit.ledger import Ledger
from remit.ledger.ledger import FULL
from remit.ledger.wrapping import KeyEncryption
from remit.privacy import Privacy
from remit.resources.catalogue import Catalogue
from remit.signing import SigningKey, VerifyingKey
from remit.witness.policy import Policy

if TYPE_CHECKING:
    from remit.authority.cedar import CedarGuardrails

HEARTBEAT: Final = "60s"
"""After how long of silence a process says that it lives."""

WRITING: Final = frozenset({"session", "approve", "review"})
"""Capabilities whose records hold what agents, tools and reviewers wrote, so that the detector is loaded for them."""


def open(  # noqa: A001 - `remit.open` reads as what it does
    url: str | None = None,
    *,
    can: Iterable[str] | None = None,
    development: bool = False,
    catalogue: str | Path | Mapping[str, Any] | Iterable[str | Path | Mapping[str, Any]] | None = None,
    people: str | Path | Mapping[str, Any] | None = None,
    policies: str | Path | Iterable[str | Path] | None = None,
    environment: str = "unspecified",
    home: str | Path | None = None,
    clock: Callable[[], datetime] | None = None,
    privacy: Privacy | None = None,
    key_encryption: KeyEncryption | None = None,
    witnesses: str | Path | Policy | None = None,
    wait: str | None = None,
    durability: str | None = None,
    heartbeat: str | timedelta | None = None,
) -> App:
    """Open a ledger, making it when it does not exist yet.

    Args:
        url:
            `sqlite:///remit.db` or `postgresql+psycopg://HOST/NAME`; `$REMIT_URL` when omitted, else `remit.db` in the
            user's data directory.
        can:
            What the handle may do, of `session issue approve review configure`; everything when omitted. An agent's
            process gets `{"session"}`.
        development:
            Accept claimed identities (bare strings). Every output shows it.
        catalogue:
            One or several catalogue files or mappings: how tool arguments become resources.
        people:
            `policies/people.yaml`, or the mapping in it: who holds which role.
        policies:
            Guardrails: `*.cedar` files or folders of them, such as `policies/guardrails`. They only take away.
        environment:
            Where this runs (`production`, `staging`, …): what guardrails read as `context.session.environment`.
        home:
            The folder of keys, locks and the pinned head; `<database>.remit` beside the database when omitted.
        clock:
            For tests: gives the time instead of the system (timezone-aware UTC).
        privacy:
            What is kept of arguments and results; `$REMIT_DETECT` and `$REMIT_RESULTS` when omitted, else the defaults.
        key_encryption:
            A key service that wraps the keys of records; `$REMIT_KEK` when omitted, else the key in the home.
        witnesses:
            Whose cosignatures heads are given: a policy file (C2SP tlog-policy); `witness.policy` in the home when
            omitted, where there is one. Needs `remit[witness]`.
        wait:
            How durable the record of every call has to be before its tool runs: `durable` (the default), `sequenced`
            or `witnessed`. The catalogue may ask for more of single tools.
        durability:
            `full` (the default), or `relaxed`: records do not wait for the disk, so that a power loss may take back
            what was acknowledged last. `$REMIT_DURABILITY` when omitted. Recorded, and shown by every report; refused
            together with witnesses, because a head that was cosigned must not be lost.
        heartbeat:
            After how long of silence this process says that it lives, such as `60s` (the default); `off` for never.
            `$REMIT_HEARTBEAT` when omitted. Announced, so that a longer silence shows.

    Raises `UsageError`, `GrantError` (catalogue, policies), `VerificationError` (not the ledger that was pinned).
    """
    url = url or os.environ.get("REMIT_URL") or default_url()
    if isinstance(can, str):
        raise UsageError(f"can={can!r} is a text; expected a set of capabilities, such as can={{{can!r}}}")
    capabilities = frozenset(can) if can is not None else CAPABILITIES
    if unknown := capabilities - CAPABILITIES:
        raise UsageError(f"can={sorted(unknown)} names no capability; expected some of {sorted(CAPABILITIES)}")
    roles = people if isinstance(people, People) else _people(people)
    known = Catalogue.load(*_sources(catalogue))
    guardrails = _guardrails(policies)
    floor = read_wait(wait)
    beats = _heartbeat(heartbeat)
    policy = Policy.load(Path(witnesses)) if isinstance(witnesses, str | Path) else witnesses
    ledger = Ledger.open_or_create(
        url,
        home=Path(home) if home is not None else None,
        clock=clock,
        key_encryption=key_encryption,
        durability=durability or os.environ.get("REMIT_DURABILITY") or FULL,
    )
    kept = privacy if privacy is not None else Privacy.from_environment()
    detector = kept.detector() if capabilities & WRITING and ledger.sealer is not None else None
    if ledger.sealer is not None:
        ledger.sealer.detector = detector
    issue_key, issue_public = _issue_keys(ledger.home, may_issue="issue" in capabilities)
    policy = _witnesses(ledger, policy)
    if beats is not None:
        ledger.keep_beating(beats.total_seconds())
    deployment = Deployment(
        ledger=ledger,
        catalogue=known,
        authenticator=Authenticator(origin=ledger.origin, people=roles, development=development),
        can=capabilities,
        development=development,
        issue_key=issue_key,
        issue_public=issue_public,
        own_files=OwnFiles([*ledger.files(), *_sources(policies), *_files(witnesses)]),
        guardrails=guardrails,
        environment=environment,
        wait=floor,
        witnesses=policy,
        privacy=kept,
        detector=detector,
    )
    _warn_of_misfits(deployment)
    return App(url, deployment)


def default_url() -> str:
    """The user's own ledger: `$XDG_DATA_HOME/remit/remit.db`, by default below `~/.local/share`."""
    folder = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "remit"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return f"sqlite:///{folder / 'remit.db'}"


def _issue_keys(home: Path, *, may_issue: bool) -> tuple[SigningKey | None, VerifyingKey]:
    """The deployment's key for grants. A handle that cannot issue reads the public half only, where there is one."""
    public = home / "issue.pub"
    if not may_issue and public.exists():
        return None, VerifyingKey.parse(public.read_text(encoding="ascii"))
    key = SigningKey.load_or_create(home / "issue.key")
    if not public.exists():
        with contextlib.suppress(OSError):  # a deployment that is read-only here has its public key elsewhere
            public.write_text(key.public.text, encoding="ascii")
    return (key if may_issue else None), key.public


def _witnesses(ledger: Ledger, policy: Policy | None) -> Policy | None:
    """The policy that is in force; the ledger then has its heads cosigned by those whom it names."""
    place = ledger.home / "witness.policy"
    if policy is None and place.exists():
        policy = Policy.load(place)
    if policy is not None and policy.witnesses:
        if ledger.durability != FULL:
            ledger.close()
            raise UsageError(
                f"durability={ledger.durability!r} goes with no witnesses: what they cosigned must not be lost. Take "
                f"{place if place.exists() else 'witnesses='} away, or leave durability at {FULL!r}"
            )
        from remit.witness.asking import Witnesses  # its library comes with an extra

        ledger.company.witness_by(Witnesses(ledger, policy))
    return policy


def _heartbeat(given: str | timedelta | None) -> timedelta | None:
    asked = given if given is not None else os.environ.get("REMIT_HEARTBEAT") or HEARTBEAT
    if asked == "off":
        return None
    span = read_span("heartbeat", asked)
    if span is not None and span < timedelta(seconds=1):
        raise UsageError(f"heartbeat={given!r} is shorter than a second; expected a span such as {HEARTBEAT}, or off")
    return span


def _files(given: str | Path | Policy | None) -> tuple[Path, ...]:
    return (Path(given),) if isinstance(given, str | Path) else ()


def _people(people: str | Path | Mapping[str, Any] | None) -> People:
    if people is None:
        return People()
    return People.of(people) if isinstance(people, Mapping) else People.load(people)


def _guardrails(policies: str | Path | Iterable[str | Path] | None) -> CedarGuardrails | None:
    if policies is None:
        return None
    from remit.authority.cedar import CedarGuardrails  # its library is large, and only loaded where it is used

    return CedarGuardrails.load(*_sources(policies))


def _warn_of_misfits(deployment: Deployment) -> None:
    """Log every guardrail that does not fit a tool whose definition is accepted here. Such calls are refused one by one
    anyway; a tool that changed must not keep everything else from opening."""
    if deployment.guardrails is None:
        return
    from remit.authority.cedar.schemas import check_tools

    for problem in check_tools(deployment.guardrails.policies, deployment.accepted_schemas()):
        logger.warning("%s", problem)


def _sources(catalogue: Any) -> tuple[Any, ...]:
    if catalogue is None:
        return ()
    if isinstance(catalogue, str | Path | Mapping):
        return (catalogue,)
    return tuple(catalogue)


__all__ = ["default_url", "open"]
