"""Tool keys: `server.tool`, byte for byte."""

from __future__ import annotations

import pytest

from remit.authority.keys import tool_key
from remit.errors import GrantError


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("crm.read_ticket", "crm.read_ticket"),
        ("read_ticket", "local.read_ticket"),
        ("my-server_1.a.b", "my-server_1.a.b"),
        ("s.Tool-Name/x", "s.Tool-Name/x"),
    ],
)
def test_a_key_is_split_at_the_first_dot(text: str, key: str) -> None:
    """A tool without a server is local."""
    assert tool_key(text) == key


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "A.b", "a b.c", "a.b c", "crm.*", "*", "a.\u0430", "a.b\n", "a" * 300]
)
def test_anything_else_is_refused(text: str) -> None:
    """A key could otherwise look like another."""
    with pytest.raises(GrantError, match="is not a tool key"):
        tool_key(text)
