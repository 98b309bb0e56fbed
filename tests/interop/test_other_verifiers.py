"""Verifiers that Remit's authors did not write accept its evidence, and reject it after any change.

| verifier | heads | cosignatures | inclusion | consistency | tiles |
|---|---|---|---|---|---|
| Go's golang.org/x/mod/sumdb | yes | yes | yes | yes | yes |
| sigstore-python | yes | | yes | | |
| npm's @sigstore/verify | yes | | yes | | |
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from remit.remit_verify import COSIGNER, Files, Key, roots_of, verify
from tests import stores
from tests.interop import cases, verifiers
from tests.interop.cases import Case
from tests.interop.evidence import Evidence, make
from tests.interop.verifiers import Verifier

COVERED: dict[str, tuple[str, ...]] = {
    "go": ("heads", "cosigned", "inclusions", "consistencies", "tiles"),
    "python": ("heads", "inclusions"),
    "node": ("heads", "inclusions"),
}

TAMPERED: dict[str, Callable[[Evidence], Iterable[Case]]] = {
    "heads": cases.tampered_heads,
    "cosigned": cases.tampered_cosignatures,
    "inclusions": cases.tampered_inclusions,
    "consistencies": cases.tampered_consistencies,
    "tiles": cases.tampered_tiles,
}

TABLE = [(name, what) for name, covered in COVERED.items() for what in covered]

OWN: dict[tuple[str, str], frozenset[str]] = {("python", "heads"): frozenset({"another name signed"})}
"""Cases that a verifier accepts by its own rules: sigstore-python looks a key up by its id, and never at the name in
the line of the signature. The text that is signed, the log's name in it included, is unchanged there."""


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evidence]:
    """Made once."""
    folder = tmp_path_factory.mktemp("interop")
    yield make(folder)
    if stores.ON_POSTGRESQL:
        stores.drop_below(folder)


@pytest.fixture(scope="module")
def ask() -> Callable[[str], Verifier]:
    """A verifier by name, made ready when it is first asked for."""
    ready: dict[str, Verifier] = {}

    def named(name: str) -> Verifier:
        if name not in ready:
            ready[name] = getattr(verifiers, name)()
        return ready[name]

    return named


def test_the_evidence_is_what_our_own_verifier_accepts(evidence: Evidence) -> None:
    """The comparison is about evidence as it leaves: whole, cosigned, continuing what was kept."""
    kept = evidence.folder.parent / "kept" / "checkpoint"
    roots = roots_of([evidence.log], [evidence.witness], fresh="24h", since=kept)
    for name in ("session", "whole"):
        found = verify(Files.open(evidence.folder.parent / name), roots)
        assert list(found.witnesses) == [Key.parse(evidence.witness, COSIGNER).name]
    assert found.records > 256
    assert len(evidence.records) > 250


@pytest.mark.requirement("interop:accept")
@pytest.mark.parametrize(("name", "what"), TABLE)
def test_other_verifiers_accept_what_remit_writes(
    evidence: Evidence, ask: Callable[[str], Verifier], name: str, what: str
) -> None:
    """They also read the same in it: size, root, index, time of the cosignature."""
    asked: list[Case] = getattr(cases, what)(evidence)
    answers = ask(name)(asked)
    assert [(case.name, answer.why) for case, answer in zip(asked, answers, strict=True) if not answer.accepted] == []
    for case, answer in zip(asked, answers, strict=True):
        assert answer.said is not None
        said = {key: value for key, value in answer.said.items() if value != {}}
        assert said == _expected(evidence, case), case.name


def _expected(evidence: Evidence, case: Case) -> dict[str, object]:
    """What our own verifier reads."""
    roots = roots_of([evidence.log], [evidence.witness])
    if case.kind == "head":
        head = roots.head(case.files["checkpoint"], "checkpoint")
        said: dict[str, object] = {"size": head.size, "root": base64.b64encode(head.root).decode()}
        if case.witnesses:
            said["cosigned"] = {key.name: int(time.timestamp()) for key, time in roots.check_witnessed(head).items()}
        return said
    size = roots.head(evidence.checkpoint, "checkpoint").size
    if case.kind == "inclusion":
        return {"index": int(case.name.removeprefix("record ")), "size": size}
    if case.kind == "consistency":
        return {"from": roots.head(evidence.kept, "kept").size, "to": size}
    whole = roots.head(evidence.whole["checkpoint"], "checkpoint").size
    return {"size": whole, "records": whole}


@pytest.mark.requirement("interop:reject")
@pytest.mark.parametrize(("name", "what"), TABLE)
def test_other_verifiers_reject_what_was_changed(
    evidence: Evidence, ask: Callable[[str], Verifier], name: str, what: str
) -> None:
    """One row a change; every verifier that covers the artefact says no to all of them."""
    asked = list(TAMPERED[what](evidence))
    answers = ask(name)(asked)
    accepted = {case.name for case, answer in zip(asked, answers, strict=True) if answer.accepted}
    assert accepted == OWN.get((name, what), frozenset())
    assert len(asked) > 10


def test_the_sources_say_no_more_than_they_check() -> None:
    """Neither program knows anything of ours: the Go one imports x/mod, the other one @sigstore/verify."""
    here = Path(verifiers.__file__).parent
    imports = [line for line in (here / "verify.go").read_text(encoding="utf-8").split("\n") if "golang.org/" in line]
    assert [line.strip() for line in imports[1:]] == [
        '"golang.org/x/mod/sumdb/note"',
        '"golang.org/x/mod/sumdb/tlog"',
    ]
