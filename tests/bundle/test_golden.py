"""Bundles that earlier versions wrote: today's verifier verifies every one of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from remit.remit_verify import Files, roots_of, verify

ASSETS = Path(__file__).parents[1] / "assets/bundles"


@pytest.mark.parametrize("path", sorted(ASSETS.glob("*.zip")), ids=lambda path: path.stem)
def test_a_bundle_of_an_earlier_version_still_verifies(path: Path) -> None:
    """Each lies beside the key of its log. What was evidence once stays evidence."""
    found = verify(Files.open(path), roots_of([str(path.with_suffix(".vkey"))]))
    assert found.statements > 0
    assert found.grants > 0


def test_there_is_a_bundle_of_every_kind() -> None:
    """Proofs of single records with disclosures, and a whole log of tiles."""
    assert {path.stem for path in ASSETS.glob("0.1-*.zip")} == {"0.1-disclosed", "0.1-log"}
