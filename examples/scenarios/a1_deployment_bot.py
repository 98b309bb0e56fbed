"""Scenario A1: a deployment bot with a credential for fifteen minutes, and for one change.

Alice lets the bot deploy one module of one commit for CHG-7; Bob, the release manager, has to approve the deployment
itself. In time it runs; after the end it is refused. Then somebody asks who did this, a stranger verifies the evidence,
and an attacker with every right on the database replaces Bob's name.

Runs offline; the git repository, keys, command line and database are real. The day is yesterday, so nobody waits.

    pip install 'remit[tokens]'
    python examples/scenarios/a1_deployment_bot.py [--url postgresql+psycopg://HOST/NAME]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from a1_production import Production, Repository
from sqlalchemy import create_engine, text

import remit
from remit import remit_verify
from remit.ledger import Ledger
from remit.signing import SigningKey
from remit.testing import Clock
from remit.tokens import jwk_of, prove

DEPLOYER, RUNNER = "spiffe://acme.com/agents/deployer", "spiffe://acme.com/ci/runner-7"
CHANGE, SOURCE = "CHG-7", "acme/infra@9f31c2e"

PEOPLE = {
    "alice@acme.com": {"roles": ["platform"]},
    "bob@acme.com": {"roles": ["release-manager"]},
    "carol@acme.com": {"roles": ["admin"]},
}

CATALOGUE = {"tools": {"deploy.apply": {"accesses": ["write infra://production/{module}"]}}}

TEMPLATE = """
template: deployment
parameters:
  requester: {email: {domains: [acme.com]}}
  change: {matches: "CHG-[0-9]+"}
  repository: {matches: "acme/infra@[0-9a-f]{7,40}"}
  module: {one_of: [dns, mail]}
task: Deploy ${module} for ${change}
principal: user:${requester}
agent: spiffe://acme.com/agents/deployer
expires_in: 15m
issue: {by: role:platform, open: 1}
bindings: {change: "${change}", repository: "${repository}"}
limits: {calls: 3, denied: 5}
tools:
  deploy.apply:
    resources: ["write infra://production/${module}"]
    arguments: {source: {from: {binding: repository}}}
    approval: {by: role:release-manager, reason: production changes need the release manager, expires_in: 10m}
"""


def story(url: str, folder: Path) -> str:
    """Yesterday, 10:00 to 10:20. Returns the session's id; leaves persons' keys in `folder`/keys."""
    clock = Clock((datetime.now(UTC) - timedelta(days=1)).replace(hour=10, minute=0, second=0, microsecond=0))
    production = Production(folder / "production", Repository(folder / "infra"))
    Ledger.create(url, clock=clock).close()  # refuses one that is there: this story ends by breaking it

    with (
        remit.open(url, catalogue=CATALOGUE, people=PEOPLE, clock=clock) as office,
        remit.open(url, catalogue=CATALOGUE, people=PEOPLE, clock=clock, can={"session"}) as ci,
    ):
        carol = enrolled(office, folder, "carol@acme.com", by=None)
        alice = enrolled(office, folder, "alice@acme.com", by=carol)
        bob = enrolled(office, folder, "bob@acme.com", by=carol)

        task = {"requester": "alice@acme.com", "change": CHANGE, "repository": SOURCE, "module": "dns"}
        grant = office.issue(TEMPLATE, parameters=task, credential=alice)
        key = SigningKey.generate()  # the bot's own; only its public half leaves the runner
        token = office.token(grant, audience=office.ledger.origin, confirm=jwk_of(key.public), credential=alice)
        tell(clock, f"Alice issued {grant.id} to {grant.agent}, until {grant.expires:%H:%M}: {grant.task}.")

        clock.forward(minutes=1)
        proof = prove(token, key, audience=ci.ledger.origin, now=clock())
        with ci.session(token=token, proof=proof, workload=RUNNER) as session:
            call = {"module": "dns", "source": SOURCE}
            try:
                session.call("deploy.apply", call, run=production.apply)
            except remit.ApprovalRequired as asked:
                question = office.approval(asked.approval_id)
                tell(clock, f"The bot asks; nothing is deployed yet ({len(production.releases())} releases).")
            try:
                office.approve(question.id, credential=alice)
            except remit.IdentityError as error:
                tell(clock, f"Alice cannot approve it herself: {error}.")

            clock.forward(minutes=1)
            office.approve(question.id, credential=bob, shown=question.shown)
            tell(clock, f"Bob approved exactly this: {question.tool} {dict(question.arguments or {})}.")

            clock.forward(minutes=3)
            result = session.resume(question.id, run=production.apply)
            tell(clock, f"In time: {result} ({production.running('dns').strip()}).")

            clock.forward(minutes=15)
            try:
                session.call("deploy.apply", call, run=production.apply)
            except remit.Denied as denied:
                tell(clock, f"Too late: {denied.code}. {denied.reason} Still {len(production.releases())} release.")
        try:
            ci.session(token=token, proof=prove(token, key, audience=ci.ledger.origin, now=clock())).open()
        except remit.IdentityError as error:
            tell(clock, f"The bot's token opens nothing any more: {error}.")
        return session.id


def enrolled(office: remit.App, folder: Path, person: str, *, by: remit.Credential | None) -> remit.Credential:
    """A person with a key of their own, which somebody who may has enrolled."""
    made = remit.Credential.generate(person, folder / "keys" / f"{person}.pem")
    office.enrol(person, made.public_key, credential=by)
    return made


def tell(clock: Clock, sentence: str) -> None:
    """One line of the story."""
    print(f"{clock():%H:%M} {sentence}")


def command(*arguments: str | Path, url: str, lines: int | None = None) -> int:
    """Run a command as a person would, and show what it says, or its first lines. Returns its exit code."""
    print(f"\n$ {' '.join(Path(one).name if isinstance(one, Path) else one for one in arguments)}")
    program = [sys.executable, "-m", "remit"] if arguments[0] == "remit" else [sys.executable, arguments[0]]
    done = subprocess.run(
        [*program, *arguments[1:]],
        env={**os.environ, "REMIT_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print("\n".join(done.stdout.rstrip().splitlines()[:lines]))
    return done.returncode


def forge(url: str, name: str, other: str) -> None:
    """What somebody with every right on the database does to whoever answered the approval."""
    engine = create_engine(url)
    with engine.begin() as database:
        table = " ON record" if engine.dialect.name == "postgresql" else ""
        database.execute(text(f"DROP TRIGGER record_no_update{table}"))
        [(record, body)] = database.execute(text("SELECT id, body FROM record WHERE type = 'approval.decided'"))
        forged = bytes(body).replace(name.encode(), other.encode())
        database.execute(text("UPDATE record SET body = :body WHERE id = :id"), {"body": forged, "id": record})
    engine.dispose()


def main(url: str | None, folder: Path) -> None:
    """The story; then the questions that people ask of it."""
    url = url or f"sqlite:///{folder}/remit.db"
    session_id = story(url, folder)
    with remit.open(url, can=()) as app:
        log = app.ledger.verifier_key  # what an auditor is told once, by another way
    bundle, verifier, key = folder / "evidence.zip", Path(remit_verify.__file__), folder / "keys" / "carol@acme.com.pem"

    print("\nWho did this? Carol asks, and takes the evidence to a stranger.")
    command("remit", "who", CHANGE, url=url)
    carol = ("--as", "carol@acme.com", "--key-file", key)
    command("remit", "export", "bundle", session_id, "--out", bundle, *carol, url=url, lines=1)
    command(verifier, bundle, "--key", log, url=url, lines=2)
    command("remit", "verify", url=url, lines=1)

    forge(url, "bob@acme.com", "carol@acme.com")
    print("\nSomebody with every right on the database wrote Carol for Bob.")
    code = command("remit", "verify", url=url)
    print(f"Exit code {code}. The bundle that left before still says what happened:")
    command(verifier, bundle, "--key", log, url=url, lines=1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Scenario A1. It ends by breaking its ledger, so it makes a new one.")
    parser.add_argument("--url", help="Where: a new sqlite:///PATH, or an empty PostgreSQL database.")
    with tempfile.TemporaryDirectory() as temporary:
        main(parser.parse_args().url, Path(temporary))
