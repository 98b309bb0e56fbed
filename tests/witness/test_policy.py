"""Witness policies: the format of c2sp.org/tlog-policy, and when a quorum is met."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from remit.errors import GrantError, UsageError
from remit.ledger.notes import Cosigner, Signer, WitnessKey
from remit.witness.policy import Policy

KEYS = {
    name: Cosigner(f"witness.example/{name}", Ed25519PrivateKey.generate()).key
    for name in ("x1", "x2", "x3", "y1", "y2", "y3")
}
LOG = Signer("acme.com/log", Ed25519PrivateKey.generate()).verifier
WITNESSES = "".join(f"witness {name} {key.vkey} https://{name}.example\n" for name, key in KEYS.items())
TWO_LEVELS = f"""\
# two organisations
log {LOG.vkey}
{WITNESSES}
group X-witnesses 2 x1 x2 x3
group Y-witnesses any\ty1 y2 y3
  group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def _met(policy: Policy, *names: str) -> bool:
    return policy.satisfied([KEYS[name] for name in names])


def test_the_example_of_the_specification_means_what_it_says() -> None:
    """Two of the X and one of the Y; every combination, counted by hand."""
    policy = Policy.parse(TWO_LEVELS)
    for count in range(7):
        for names in combinations(KEYS, count):
            xs = sum(name.startswith("x") for name in names)
            assert _met(policy, *names) == (xs >= 2 and len(names) - xs >= 1)
    assert policy.logs == (LOG,)
    assert policy.describe() == "2 of 2 groups and witnesses"
    assert policy.witnesses[0].url == "https://x1.example"


def test_a_single_witness_all_of_a_group_or_nobody() -> None:
    """`quorum x1`, `all`, and `none`, which needs nobody."""
    assert _met(Policy.parse(WITNESSES + "quorum x1\n"), "x1")
    assert not _met(Policy.parse(WITNESSES + "quorum x1\n"), "x2", "x3")
    both = Policy.parse(WITNESSES + "group both all x1 x2\nquorum both\n")
    assert [_met(both, "x1"), _met(both, "x1", "x2"), both.describe()] == [False, True, "2 of 2 witnesses"]
    assert Policy.parse("quorum none\n").satisfied([])


def test_a_witness_that_the_policy_does_not_name_counts_for_nothing() -> None:
    """Under any name."""
    stranger = Cosigner("witness.example/x1", Ed25519PrivateKey.generate()).key
    assert not Policy.parse(WITNESSES + "quorum x1\n").satisfied([stranger])


def test_keys_and_a_number_make_a_policy_too() -> None:
    """As a verifier gives them; all of them, where no number is given."""
    names = ("x1", "x2", "x3")
    keys = [KEYS[name] for name in names]
    assert [_met(Policy.of(keys, 2), *names[:count]) for count in range(4)] == [False, False, True, True]
    assert [_met(Policy.of(keys), *names[:count]) for count in range(4)] == [False, False, False, True]
    for wrong in (0, 4, -1):
        with pytest.raises(UsageError):
            Policy.of(keys, wrong)
    renamed = WitnessKey("another.example/name", keys[0].public_key)
    for doubled in ([], [keys[0], keys[0]], [keys[0], renamed]):
        with pytest.raises(UsageError):
            Policy.of(doubled)


RENAMED = WitnessKey("another.example/name", KEYS["x1"].public_key).vkey


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "0 quorum lines"),
        (WITNESSES, "0 quorum lines"),
        (WITNESSES + "quorum x1\nquorum x2\n", "2 quorum lines"),
        (WITNESSES + "quorum nobody\n", "no witness or group nobody"),
        (WITNESSES + "group g any x1 none\nquorum g\n", "no witness or group none"),
        (WITNESSES + "quorum g\ngroup g any x1\n", "no witness or group g"),
        (WITNESSES + "group g any g\nquorum g\n", "no witness or group g"),
        (WITNESSES + "group g 0 x1\nquorum g\n", "needs 0 of 1"),
        (WITNESSES + "group g 2 x1\nquorum g\n", "needs 2 of 1"),
        (WITNESSES + "group g 01 x1 x2\nquorum g\n", "needs 01 of 2"),
        (WITNESSES + "group g most x1 x2\nquorum g\n", "needs most of 2"),
        (WITNESSES + "group g any\nquorum g\n", "is no statement"),
        (WITNESSES + "group g 2 x1 x1\nquorum g\n", "member twice"),
        (WITNESSES + "group g any x1\ngroup h any x1\nquorum h\n", "member twice"),
        (WITNESSES + "group x1 any x2\nquorum x1\n", "the name x1 is taken"),
        (WITNESSES + f"witness x9 {RENAMED}\nquorum x1\n", "one witness counts once"),
        (WITNESSES + f"witness x9 {LOG.vkey}\nquorum x1\n", "not the Ed25519 key of a witness"),
        (f"log {KEYS['x1'].vkey}\nquorum none\n", "not the Ed25519 key of a log"),
        (f"log {LOG.vkey}\nlog {LOG.vkey}\nquorum none\n", "given twice"),
        (f"witness none {KEYS['x1'].vkey}\nquorum none\n", "the name none is taken"),
        (f"witness x1 {KEYS['x1'].vkey} ftp://x\nquorum x1\n", "is not https"),
        (f"witness x1 {KEYS['x1'].vkey}x\nquorum x1\n", "base64"),
        ("witnes x1\nquorum none\n", "is no statement"),
        ("quorum none\r\n", "control character"),
        ("quorum\x0bnone\n", "control character"),
    ],
    ids=range(25),
)
def test_a_policy_that_is_wrong_is_refused_with_what_is_wrong(text: str, said: str) -> None:
    """Nothing is guessed: a quorum that means less than its author thought is worse than none."""
    with pytest.raises(GrantError) as refused:
        Policy.parse(text)
    assert any(said in problem for problem in refused.value.problems), refused.value.problems


def test_a_policy_file_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    """Missing, or no text."""
    (tmp_path / "raw").write_bytes(b"\xff")
    for name in ("missing", "raw"):
        with pytest.raises(UsageError, match="cannot read the witness policy"):
            Policy.load(tmp_path / name)
    with pytest.raises(GrantError, match="at most 1000"):
        Policy.parse("\n" * 2000)
