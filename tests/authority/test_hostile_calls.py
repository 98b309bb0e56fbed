"""Hostile calls as decisions: each is what a hijacked agent would try, and each is refused for the right reason."""

from __future__ import annotations

from typing import Any

import pytest

from tests.authority.granting import compiled, decided

GRANT = compiled(
    {
        "payments.refund": {
            "arguments": {
                "order": {"matches": "ord_[0-9]+"},
                "amount": {"type": "number", "min": 0.01, "max": 50},
                "currency": ["USD", "EUR"],
                "note": {"type": "string", "max_len": 500, "optional": True},
                "urgent": {"eq": False, "optional": True},
                "attempt": {"eq": 1, "optional": True},
            }
        },
        "fs.open": {"arguments": {"path": {"under": "/srv/acme"}}},
        "fs.read_file": {"resources": ["read file:///srv/acme/**"]},
        "http.get": {"arguments": {"url": {"url": {"hosts": ["api.acme.com"]}}}},
        "mail.send": {"arguments": {"to": {"each": {"email": {"domains": ["acme.com"]}}, "max_len": 5}}},
        "db.drop": {"arguments": {"stage": {"not_one_of": ["prod"]}}},
        "kb.search": "any",
    },
)
REFUND = {"order": "ord_4711", "amount": 5, "currency": "EUR"}
OUT = "argument_out_of_bounds"


def refund(**changes: Any) -> tuple[str, dict[str, Any]]:
    """A refund inside the grant, but for `changes`; an argument that becomes `...` is left out."""
    return "payments.refund", {key: value for key, value in {**REFUND, **changes}.items() if value is not ...}


HOSTILE: list[tuple[str, tuple[str, dict[str, Any]], str, str]] = [
    ("amount above the bound", refund(amount=50.01), OUT, "payments.refund/only:amount"),
    ("a negative amount", refund(amount=-5), OUT, "payments.refund/only:amount"),
    ("an amount as text", refund(amount="5"), OUT, "payments.refund/only:amount"),
    ("true as an amount", refund(amount=True), OUT, "payments.refund/only:amount"),
    ("not a number", refund(amount=float("nan")), "argument_unrepresentable", "payments.refund:amount"),
    ("infinity", refund(amount=float("inf")), "argument_unrepresentable", "payments.refund:amount"),
    ("an amount in a list", refund(amount=[5]), OUT, "payments.refund/only:amount"),
    ("the amount left out", refund(amount=...), OUT, "payments.refund/only:amount"),
    ("an argument nobody named", refund(approved=True), OUT, "payments.refund/only:approved"),
    ("the same argument in other case", refund(Amount=5000), OUT, "payments.refund/only:Amount"),
    ("a currency in other case", refund(currency="eur"), OUT, "payments.refund/only:currency"),
    ("a currency as a mapping", refund(currency={"EUR": 1}), OUT, "payments.refund/only:currency"),
    ("a line after the pattern", refund(order="ord_1\n; drop"), OUT, "payments.refund/only:order"),
    ("the pattern somewhere inside", refund(order="x ord_1"), OUT, "payments.refund/only:order"),
    ("digits of another script", refund(order="ord_\u0663"), OUT, "payments.refund/only:order"),
    ("zero for false", refund(urgent=0), OUT, "payments.refund/only:urgent"),
    ("true for one", refund(attempt=True), OUT, "payments.refund/only:attempt"),
    ("a lone surrogate", refund(note="\ud800"), "argument_unrepresentable", "payments.refund:note"),
    ("a path that walks up", ("fs.open", {"path": "/srv/acme/../../etc/passwd"}), OUT, "fs.open/only:path"),
    ("a path that walks up, encoded", ("fs.open", {"path": "/srv/acme/%2e%2e/x"}), OUT, "fs.open/only:path"),
    ("a sibling with the same beginning", ("fs.open", {"path": "/srv/acmeX/key"}), OUT, "fs.open/only:path"),
    (
        "a resource that walks up",
        ("fs.read_file", {"path": "/srv/acme/.."}),
        "resource_unresolved",
        "fs.read_file/only:resources",
    ),
    (
        "a resource next door",
        ("fs.read_file", {"path": "/srv/acmeX"}),
        "resource_out_of_scope",
        "fs.read_file/only:resources",
    ),
    ("the host as user info", ("http.get", {"url": "https://api.acme.com@evil.com/"}), OUT, "http.get/only:url"),
    ("the host as a label", ("http.get", {"url": "https://api.acme.com.evil.com/"}), OUT, "http.get/only:url"),
    (
        "a backslash before the host",
        ("http.get", {"url": "https://evil.com\\@api.acme.com/"}),
        OUT,
        "http.get/only:url",
    ),
    ("two addresses in one", ("mail.send", {"to": ["a@acme.com, x@evil.com"]}), OUT, "mail.send/only:to"),
    ("a display name", ("mail.send", {"to": ["a@acme.com <x@evil.com>"]}), OUT, "mail.send/only:to"),
    ("text in the place of a list", ("mail.send", {"to": "a@acme.com"}), OUT, "mail.send/only:to"),
    ("a list past a refused value", ("db.drop", {"stage": ["prod"]}), OUT, "db.drop/only:stage"),
    ("a tool in other case", ("KB.search", {"q": "x"}), "tool_not_granted", "KB.search"),
    ("a tool with a look-alike letter", ("kb.se\u0430rch", {"q": "x"}), "tool_not_granted", "kb.se\u0430rch"),
]


@pytest.mark.parametrize(
    ("call", "code", "rule"),
    [
        pytest.param(call, code, rule, id=name, marks=pytest.mark.requirement(f"H{number}"))
        for number, (name, call, code, rule) in enumerate(HOSTILE, start=31)
    ],
)
def test_a_hostile_call_is_refused(call: tuple[str, dict[str, Any]], code: str, rule: str) -> None:
    """With this code and this rule, and a remedy."""
    decision = decided(GRANT, *call)

    assert (decision.effect, decision.code, decision.rule) == ("deny", code, rule)
    assert decision.remedy is not None


@pytest.mark.requirement("T6")
@pytest.mark.parametrize("path", ["/srv/acme/../x", "/srv/acme/./x", "/srv//acme", "/srv/acme/", "//srv/acme/x"])
def test_no_path_in_another_spelling_passes(path: str) -> None:
    """Neither `under` nor a resource pattern sees a path that could be read in two ways."""
    assert decided(GRANT, "fs.open", {"path": path}).effect == "deny"
    assert decided(GRANT, "fs.read_file", {"path": path}).effect == "deny"


@pytest.mark.requirement("T1")
def test_the_tool_that_is_called_is_the_one_that_is_judged() -> None:
    """An argument that names another tool changes nothing."""
    assert decided(GRANT, "shell.run", {"tool": "kb.search", "name": "kb.search"}).code == "tool_not_granted"


@pytest.mark.parametrize(
    "call",
    [
        refund(),
        refund(amount=50),
        refund(note="caf\u00e9", urgent=False, attempt=1),
        ("fs.open", {"path": "/srv/acme/a.txt"}),
        ("fs.read_file", {"path": "/srv/acme/a b.txt"}),
        ("http.get", {"url": "https://api.acme.com/v1?q=1"}),
        ("mail.send", {"to": ["a@acme.com"]}),
        ("db.drop", {"stage": "test"}),
        ("kb.search", {"q": "any text", "n": 3}),
    ],
)
def test_honest_calls_run(call: tuple[str, dict[str, Any]]) -> None:
    """The same grant lets through what it was written for."""
    assert decided(GRANT, *call).effect == "permit"
