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


HOSTILE = [
    pytest.param(
        refund(amount=50.01),
        OUT,
        "payments.refund/only:amount",
        id="amount above the bound",
        marks=pytest.mark.requirement("H31"),
    ),
    pytest.param(
        refund(amount=-5),
        OUT,
        "payments.refund/only:amount",
        id="a negative amount",
        marks=pytest.mark.requirement("H32"),
    ),
    pytest.param(
        refund(amount="5"),
        OUT,
        "payments.refund/only:amount",
        id="an amount as text",
        marks=pytest.mark.requirement("H33"),
    ),
    pytest.param(
        refund(amount=True),
        OUT,
        "payments.refund/only:amount",
        id="true as an amount",
        marks=pytest.mark.requirement("H34"),
    ),
    pytest.param(
        refund(amount=float("nan")),
        "argument_unrepresentable",
        "payments.refund:amount",
        id="not a number",
        marks=pytest.mark.requirement("H35"),
    ),
    pytest.param(
        refund(amount=float("inf")),
        "argument_unrepresentable",
        "payments.refund:amount",
        id="infinity",
        marks=pytest.mark.requirement("H36"),
    ),
    pytest.param(
        refund(amount=[5]),
        OUT,
        "payments.refund/only:amount",
        id="an amount in a list",
        marks=pytest.mark.requirement("H37"),
    ),
    pytest.param(
        refund(amount=...),
        OUT,
        "payments.refund/only:amount",
        id="the amount left out",
        marks=pytest.mark.requirement("H38"),
    ),
    pytest.param(
        refund(approved=True),
        OUT,
        "payments.refund/only:other_arguments",
        id="an argument nobody named",
        marks=pytest.mark.requirement("H39"),
    ),
    pytest.param(
        refund(Amount=5000),
        OUT,
        "payments.refund/only:other_arguments",
        id="the same argument in other case",
        marks=pytest.mark.requirement("H40"),
    ),
    pytest.param(
        refund(currency="eur"),
        OUT,
        "payments.refund/only:currency",
        id="a currency in other case",
        marks=pytest.mark.requirement("H41"),
    ),
    pytest.param(
        refund(currency={"EUR": 1}),
        OUT,
        "payments.refund/only:currency",
        id="a currency as a mapping",
        marks=pytest.mark.requirement("H42"),
    ),
    pytest.param(
        refund(order="ord_1\n; drop"),
        OUT,
        "payments.refund/only:order",
        id="a line after the pattern",
        marks=pytest.mark.requirement("H43"),
    ),
    pytest.param(
        refund(order="x ord_1"),
        OUT,
        "payments.refund/only:order",
        id="the pattern somewhere inside",
        marks=pytest.mark.requirement("H44"),
    ),
    pytest.param(
        refund(order="ord_\u0663"),
        OUT,
        "payments.refund/only:order",
        id="digits of another script",
        marks=pytest.mark.requirement("H45"),
    ),
    pytest.param(
        refund(urgent=0), OUT, "payments.refund/only:urgent", id="zero for false", marks=pytest.mark.requirement("H46")
    ),
    pytest.param(
        refund(attempt=True),
        OUT,
        "payments.refund/only:attempt",
        id="true for one",
        marks=pytest.mark.requirement("H47"),
    ),
    pytest.param(
        refund(note="\ud800"),
        "argument_unrepresentable",
        "payments.refund:note",
        id="a lone surrogate",
        marks=pytest.mark.requirement("H48"),
    ),
    pytest.param(
        ("fs.open", {"path": "/srv/acme/../../etc/passwd"}),
        OUT,
        "fs.open/only:path",
        id="a path that walks up",
        marks=pytest.mark.requirement("H49"),
    ),
    pytest.param(
        ("fs.open", {"path": "/srv/acme/%2e%2e/x"}),
        OUT,
        "fs.open/only:path",
        id="a path that walks up, encoded",
        marks=pytest.mark.requirement("H50"),
    ),
    pytest.param(
        ("fs.open", {"path": "/srv/acmeX/key"}),
        OUT,
        "fs.open/only:path",
        id="a sibling with the same beginning",
        marks=pytest.mark.requirement("H51"),
    ),
    pytest.param(
        ("fs.read_file", {"path": "/srv/acme/.."}),
        "resource_unresolved",
        "fs.read_file/only:resources",
        id="a resource that walks up",
        marks=pytest.mark.requirement("H52"),
    ),
    pytest.param(
        ("fs.read_file", {"path": "/srv/acmeX"}),
        "resource_out_of_scope",
        "fs.read_file/only:resources",
        id="a resource next door",
        marks=pytest.mark.requirement("H53"),
    ),
    pytest.param(
        ("http.get", {"url": "https://api.acme.com@evil.com/"}),
        OUT,
        "http.get/only:url",
        id="the host as user info",
        marks=pytest.mark.requirement("H54"),
    ),
    pytest.param(
        ("http.get", {"url": "https://api.acme.com.evil.com/"}),
        OUT,
        "http.get/only:url",
        id="the host as a label",
        marks=pytest.mark.requirement("H55"),
    ),
    pytest.param(
        ("http.get", {"url": "https://evil.com\\@api.acme.com/"}),
        OUT,
        "http.get/only:url",
        id="a backslash before the host",
        marks=pytest.mark.requirement("H56"),
    ),
    pytest.param(
        ("mail.send", {"to": ["a@acme.com, x@evil.com"]}),
        OUT,
        "mail.send/only:to",
        id="two addresses in one",
        marks=pytest.mark.requirement("H57"),
    ),
    pytest.param(
        ("mail.send", {"to": ["a@acme.com <x@evil.com>"]}),
        OUT,
        "mail.send/only:to",
        id="a display name",
        marks=pytest.mark.requirement("H58"),
    ),
    pytest.param(
        ("mail.send", {"to": "a@acme.com"}),
        OUT,
        "mail.send/only:to",
        id="text in the place of a list",
        marks=pytest.mark.requirement("H59"),
    ),
    pytest.param(
        ("db.drop", {"stage": ["prod"]}),
        OUT,
        "db.drop/only:stage",
        id="a list past a refused value",
        marks=pytest.mark.requirement("H60"),
    ),
    pytest.param(
        ("KB.search", {"q": "x"}),
        "tool_not_granted",
        "KB.search",
        id="a tool in other case",
        marks=pytest.mark.requirement("H61"),
    ),
    pytest.param(
        ("kb.se\u0430rch", {"q": "x"}),
        "tool_not_granted",
        "kb.se\u0430rch",
        id="a tool with a look-alike letter",
        marks=pytest.mark.requirement("H62"),
    ),
]


@pytest.mark.parametrize(("call", "code", "rule"), HOSTILE)
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
