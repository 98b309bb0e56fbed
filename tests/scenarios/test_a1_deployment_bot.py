"""Scenario A1 runs as it stands on both stores; who did it can be asked, and who approved it cannot be forged."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import create_engine, text

import remit
from remit import remit_verify
from remit.fsck import compare
from remit.review.replay import reproduce
from tests.postgres import server

SCENARIO = Path(__file__).parents[2] / "examples" / "scenarios" / "a1_deployment_bot.py"
DEPLOYER, RUNNER = "spiffe://acme.com/agents/deployer", "spiffe://acme.com/ci/runner-7"


class Place(NamedTuple):
    """Where one run of the scenario keeps everything."""

    url: str
    folder: Path

    def remit(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """The command line, as a process of its own."""
        return ran(sys.executable, "-W", "error", "-m", "remit", *arguments, "--url", self.url)


class Told(NamedTuple):
    """A place where the story was told, and its session."""

    place: Place
    session: str


def ran(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """A process, whatever it comes to."""
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def scenario() -> Any:
    """The program, imported beside its neighbour."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCENARIO.parent))
        import a1_deployment_bot  # type: ignore[import-not-found]

    return a1_deployment_bot


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def places(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iterator[Place]]:
    """New places for ledgers, on one store and then on the other."""
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as afterwards:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))

        def new() -> Iterator[Place]:
            while True:
                folder = tmp_path_factory.mktemp("a1")
                if request.param == "sqlite":
                    yield Place(f"sqlite:///{folder}/remit.db", folder)
                    continue
                name = f"{folder.name}_{os.getpid()}"
                server().execute(f"CREATE DATABASE {name}")
                afterwards.callback(server().execute, f"DROP DATABASE {name} WITH (FORCE)")
                yield Place(server().url(name), folder)

        yield new()


@pytest.fixture
def place(places: Iterator[Place]) -> Place:
    """Nothing yet."""
    return next(places)


@pytest.fixture(scope="module")
def told(places: Iterator[Place], scenario: Any) -> Told:
    """The story was told up to 10:20. For tests that only look."""
    place = next(places)
    return Told(place, scenario.story(place.url, place.folder))


@pytest.fixture
def forged(place: Place, scenario: Any) -> Told:
    """The same, for tests that forge something."""
    return Told(place, scenario.story(place.url, place.folder))


def decided(place: Place) -> int:
    """The index of the one record that says who approved."""
    with remit.open(place.url, can=()) as app:
        [record] = app.ledger.records(types=["approval.decided"])
        return record.index


def test_runs_offline_and_tells_a_readable_story(place: Place) -> None:
    """As a person runs it."""
    done = ran(sys.executable, "-W", "error", SCENARIO, "--url", place.url)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    for sentence in (
        f"to {DEPLOYER}, until 10:15: Deploy dns for CHG-7.",
        "10:01 The bot asks; nothing is deployed yet (0 releases).",
        "10:01 Alice cannot approve it herself: user:alice@acme.com is the principal",
        "10:02 Bob approved exactly this: deploy.apply {'module': 'dns', 'source': 'acme/infra@9f31c2e'}.",
        "10:05 In time: dns runs acme/infra@9f31c2e (nameserver 198.51.100.53).",
        "10:20 Too late: grant_expired.",
        "Still 1 release.",
        "10:20 The bot's token opens nothing any more: the token ended at",
        "user:bob@acme.com (release-manager, signed) approved exactly this call at",
        "bound to change=CHG-7, repository=acme/infra@9f31c2e",
        "Somebody with every right on the database wrote Carol for Bob. $ remit verify remit: NOT verified at record",
        "Exit code 1. The bundle that left before still says what happened:",
    ):
        assert sentence in said
    assert len(done.stdout.splitlines()) < 60
    again = ran(sys.executable, SCENARIO, "--url", place.url)
    assert again.returncode != 0  # it breaks what it made, so it takes nothing that is there
    assert "10:00" not in again.stdout


@pytest.mark.requirement("A1")
def test_a_call_in_time_runs_and_one_after_the_end_does_not_reach_the_tool(told: Told) -> None:
    """The trace in production, and the records: who, by which clause, approved by whom and when, for what."""
    production = told.place.folder / "production"
    assert (production / "releases.log").read_text() == "dns acme/infra@9f31c2e\n"
    assert (production / "dns" / "resolv.conf").read_text() == "nameserver 198.51.100.53\n"

    with remit.open(told.place.url, can=()) as app:
        records = list(app.records(told.session))
        assert [record.type for record in records] == [
            "session.opened",
            "approval.requested",
            "approval.decided",
            "call.intent",
            "approval.used",
            "call.outcome",
            "call.denied",
            "session.closed",
        ]
        asked, answer, intent, denied = (records[place] for place in (1, 2, 3, 6))
        assert (answer.time[11:16], intent.time[11:16], denied.time[11:16]) == ("10:02", "10:05", "10:20")
        by = answer.data["by"]
        assert (by["subject"], by["authenticated"], by["roles"]) == ("user:bob@acme.com", True, ["release-manager"])
        assert answer.data["shown"]["confirmed"] is True
        assert (intent.data["approval"], intent.data["call"]) == (asked.data["approval"], asked.data["call"])
        assert (intent.data["agent"], intent.data["workload"]) == (DEPLOYER, RUNNER)
        assert intent.data["known"] == {"principal": "token", "agent": "token", "workload": "claimed"}
        assert denied.data["decision"]["code"] == "grant_expired"
        grant = app.grant(intent.data["grant"])
        assert grant.terms.issuer == "user:alice@acme.com"
        assert grant.terms.bindings == {"change": "CHG-7", "repository": "acme/infra@9f31c2e"}
        assert intent.data["chain"] == [grant.digest]
        reproduce(app)
        assert not compare(app.ledger).findings
    [commit] = ran("git", "-C", told.place.folder / "infra", "rev-parse", "9f31c2e").stdout.split()
    assert commit.startswith("9f31c2e")


@pytest.mark.requirement("A1")
def test_who_lists_both_with_identity_approver_and_commit(told: Told) -> None:
    """What an incident responder needs, from the command line alone."""
    done = told.place.remit("who", "CHG-7", "--json")
    assert done.returncode == 0, done.stderr
    ran_it, late = json.loads(done.stdout)["calls"]
    for deed in (ran_it, late):
        assert (deed["tool"], deed["agent"], deed["workload"]) == ("deploy.apply", DEPLOYER, RUNNER)
        assert (deed["principal"], deed["issuer"]) == ("user:alice@acme.com", "user:alice@acme.com")
        assert deed["bindings"] == {"change": "CHG-7", "repository": "acme/infra@9f31c2e"}
        assert deed["accesses"] == ["write infra://production/dns"]
        assert deed["session"] == told.session
    assert (ran_it["time"][11:16], ran_it["state"], ran_it["decision"]["effect"]) == ("10:05", "ok", "permit")
    [answer] = ran_it["answers"]
    assert (answer["by"], answer["answer"], answer["authenticated"]) == ("user:bob@acme.com", "approved", True)
    assert (answer["method"], answer["roles"], answer["time"][11:16]) == ("ed25519", ["release-manager"], "10:02")
    assert (answer["record"], answer["approval"]) == (decided(told.place), ran_it["approval"])
    assert (late["time"][11:16], late["state"], late["decision"]["code"]) == ("10:20", "denied", "grant_expired")
    assert late["answers"] == []

    for wanted in ("repository=acme/infra@9f31c2e", "infra://production/dns"):
        said = " ".join(told.place.remit("who", wanted).stdout.split())
        assert said.count("change=CHG-7, repository=acme/infra@9f31c2e") == 2
        assert "user:bob@acme.com (release-manager, signed) approved exactly this call" in said
    assert told.place.remit("who", "CHG-8").returncode == 1


@pytest.mark.requirement("A1")
def test_editing_the_approver_breaks_verification_at_exactly_that_record(forged: Told, scenario: Any) -> None:
    """Whoever may change every row cannot change who approved; what was exported before still verifies."""
    where, key = decided(forged.place), forged.place.folder / "keys" / "carol@acme.com.pem"
    with remit.open(forged.place.url, can=()) as app:
        log = app.ledger.verifier_key
    bundle = forged.place.folder / "evidence.zip"
    carol = ("--as", "carol@acme.com", "--key-file", key)
    exported = forged.place.remit("export", "bundle", forged.session, "--out", bundle, *carol)
    assert exported.returncode == 0, exported.stderr
    assert forged.place.remit("verify").returncode == 0

    scenario.forge(forged.place.url, "bob@acme.com", "carol@acme.com")

    done = forged.place.remit("verify", "--json")
    assert done.returncode == 1
    assert (json.loads(done.stdout)["verified"], json.loads(done.stdout)["at"]) == (False, where), done.stdout
    assert f"NOT verified at record {where}:" in forged.place.remit("verify").stderr
    verified = ran(sys.executable, Path(remit_verify.__file__), bundle, "--key", log)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    again = forged.place.remit("export", "bundle", forged.session, "--out", bundle.with_name("forged.zip"), *carol)
    assert (again.returncode, bundle.with_name("forged.zip").exists()) == (1, False)
    assert "the first" in again.stderr  # what does not verify is not handed out as evidence


def test_an_approver_edited_in_the_read_model_only_fools_nobody(forged: Told) -> None:
    """`who` says what the record says, and `fsck` finds the row that says otherwise."""
    engine = create_engine(forged.place.url)
    with engine.begin() as database:
        database.execute(text("UPDATE approvals SET decided_by = '[\"user:carol@acme.com\"]'"))
    engine.dispose()

    ran_it, _ = json.loads(forged.place.remit("who", "CHG-7", "--json").stdout)["calls"]
    assert [answer["by"] for answer in ran_it["answers"]] == ["user:bob@acme.com"]
    assert forged.place.remit("verify").returncode == 0
    found = forged.place.remit("fsck")
    assert found.returncode == 1
    assert "carol@acme.com" in found.stdout


def test_only_the_commit_that_was_granted_may_be_deployed(place: Place, scenario: Any) -> None:
    """The commit is no free argument: it is the one that the grant is bound to."""
    with remit.open(place.url, development=True, catalogue=scenario.CATALOGUE, people=scenario.PEOPLE) as app:
        task = {"requester": "alice@acme.com", "change": "CHG-7", "repository": scenario.SOURCE, "module": "dns"}
        grant = app.issue(scenario.TEMPLATE, parameters=task, credential="user:alice@acme.com")
        with app.session(grant) as session:
            right = session.explain("deploy.apply", {"module": "dns", "source": scenario.SOURCE})
            assert right.code == "approval_required"
            other = session.explain("deploy.apply", {"module": "dns", "source": "acme/infra@0000000"})
            assert other.code == "argument_out_of_bounds"
            elsewhere = session.explain("deploy.apply", {"module": "mail", "source": scenario.SOURCE})
            assert elsewhere.code == "resource_out_of_scope"
