"""What `remit_mcp.wire` says of the protocol agrees with the SDK, and the documentation with it."""

from __future__ import annotations

from pathlib import Path

import mcp_types
import pytest
from mcp_types.methods import SPEC_CLIENT_METHODS

from remit_mcp import wire

DOCS = (Path(__file__).parents[3] / "docs" / "mcp.md").read_text(encoding="utf-8")


@pytest.mark.requirement("T8")
def test_constants_are_the_sdks() -> None:
    """The proxy has its own copy so that it needs no SDK; a copy that drifts fails here."""
    assert f"{wire.ENVELOPE}protocolVersion" == mcp_types.PROTOCOL_VERSION_META_KEY
    assert wire.PARSE_ERROR == mcp_types.PARSE_ERROR
    assert wire.INVALID_REQUEST == mcp_types.INVALID_REQUEST
    assert wire.METHOD_NOT_FOUND == mcp_types.METHOD_NOT_FOUND
    assert wire.INVALID_PARAMS == mcp_types.INVALID_PARAMS
    assert wire.INTERNAL_ERROR == mcp_types.INTERNAL_ERROR


def test_every_request_of_the_specification_is_governed_or_passed_by_rule() -> None:
    """A method that a new SDK brings has to be put on one of the lists: nothing passes silently."""
    assert SPEC_CLIENT_METHODS <= wire.RESERVED
    assert not wire.GOVERNED & wire.PASSED


@pytest.mark.parametrize("said", sorted({*wire.RESERVED, wire.DENIAL_META, *wire.CLAIMS, str(wire.DENIED)}))
def test_documentation_names(said: str) -> None:
    """Whoever writes a grant or reads a refusal finds it in docs/mcp.md."""
    assert said in DOCS
