"""The one call that every contestant is measured on. Standard library only: it is imported in the peers' environments.

A refund of one order. The argument values vary over `CALLS`, so that a cache on values wins nothing.
"""

from __future__ import annotations

from typing import Any

TOOL = "payments.refund"

CALLS: tuple[dict[str, Any], ...] = tuple(
    {
        "order": f"ord_{4711 + n}",
        "amount": round(0.5 + n * 0.37, 2) + 0.001,  # never integral, so that every call costs the same to encode
        "currency": ("EUR", "USD", "GBP")[n % 3],
        "reason": f"Item {n} arrived damaged; the customer attached a photo on 3 March and asked for a refund.",
    }
    for n in range(64)
)


def refund(order: str, amount: float, currency: str, reason: str) -> dict[str, Any]:
    """The tool itself: as good as nothing, so that what is measured is what stands around it."""
    return {"refund": "re_0001", "status": "succeeded"}


def predicate(arguments: dict[str, Any]) -> bool:
    """The check that a programmer would write by hand for this one tool: the floor of any decision."""
    amount = arguments["amount"]
    order = arguments["order"]
    return (
        len(arguments) == 4
        and isinstance(order, str)
        and order.startswith("ord_")
        and not isinstance(amount, bool)
        and isinstance(amount, int | float)
        and 0.01 <= amount <= 50
        and arguments["currency"] in ("EUR", "USD", "GBP")
        and isinstance(arguments["reason"], str)
        and len(arguments["reason"]) <= 500
    )


GRANT: dict[str, Any] = {
    "task": "Refund damaged items of at most 50 each",
    "principal": "user:ravi@acme.com",
    "agent": "spiffe://acme.com/agents/refunds",
    "expires_in": "20h",
    "limits": {"calls": 100_000_000},
    "tools": {
        "crm.read_ticket": {"resources": ["read crm://tickets/*"]},
        TOOL: [
            {
                "name": "small",
                "resources": ["refund payments://orders/*"],
                "arguments": {
                    "amount": {"min": 0.01, "max": 50},
                    "currency": ["EUR", "USD", "GBP"],
                    "reason": {"max_len": 500},
                },
            },
            {
                "name": "large",
                "resources": ["refund payments://orders/*"],
                "arguments": {
                    "amount": {"above": 50, "max": 500},
                    "currency": ["EUR", "USD", "GBP"],
                    "reason": {"max_len": 500},
                },
                "approval": {"by": "role:finance", "reason": "refunds above 50 need finance"},
            },
        ],
    },
}

CATALOGUE: dict[str, Any] = {
    "tools": {
        "crm.read_ticket": {"accesses": ["read crm://tickets/{id}"], "read_only": True},
        TOOL: {"accesses": ["refund payments://orders/{order}"]},
    }
}

TEN_RULES = """\
apiVersion: governance.toolkit/v1
name: refunds
default_action: deny
rules:
  - {name: no-large, condition: "amount.value > 50", action: deny, priority: 10}
  - {name: no-drop, condition: "action.type == 'db.drop'", action: deny, priority: 9}
  - {name: no-shell, condition: "action.type == 'shell.run'", action: deny, priority: 9}
  - {name: no-mail, condition: "action.type == 'mail.send'", action: deny, priority: 9}
  - {name: no-export, condition: "action.type == 'crm.export'", action: deny, priority: 9}
  - {name: no-payout, condition: "action.type == 'payments.payout'", action: deny, priority: 9}
  - {name: no-delete, condition: "action.type == 'fs.delete'", action: deny, priority: 9}
  - {name: no-roubles, condition: "currency.value == 'RUB'", action: deny, priority: 8}
  - {name: read, condition: "action.type == 'crm.read_ticket'", action: allow, priority: 1}
  - {name: refund, condition: "action.type == 'payments.refund' and currency.value in ['EUR', 'USD', 'GBP']",
     action: allow, priority: 1}
"""
