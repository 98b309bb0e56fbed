"""What is kept of a tool's result, by policy, size, and what in it is secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from remit.errors import Unrepresentable
from remit.ledger import values

if TYPE_CHECKING:
    from remit.calls import Ticket
    from remit.deployment import Deployment


def keep(deployment: Deployment, ticket: Ticket, result: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """(leaf part, private part) of a result.

    Kept whole where evidence can hold it; only committed to, with its size, where it is larger than the deployment
    keeps or the catalogue says `commit`; without the secrets of the call, and those of known shape, in any case.
    """
    try:
        encoded = values.Encoded(values.encode(result))
        size = len(encoded.canonical)
    except Unrepresentable as error:
        return {"kept": False, "why": error.code, "type": type(result).__qualname__}, {}
    except Exception:  # noqa: BLE001 - a result whose own code fails when it is read; the tool has run all the same
        return {"kept": False, "why": "argument_unrepresentable", "type": type(result).__qualname__}, {}
    known = deployment.catalogue.entry(ticket.tool)
    policy = known.result if known is not None else "keep"
    if policy == "commit" or size > deployment.privacy.results:
        why = "policy" if policy == "commit" else "size"
        encoded.hidden, encoded.scanned = (values.Hidden((), why),), True
        return {"kept": False, "why": why, "size": size}, {"result": encoded}
    said: dict[str, Any] = {"kept": True}
    if policy == "redact":
        said["redact"] = True
    encoded.hidden = ticket.marked.echoes.hidden_in(encoded.tree) if ticket.marked.echoes else ()
    return said, {"result": encoded}


def text(deployment: Deployment, ticket: Ticket, said: str) -> values.Encoded:
    """What is kept of an error's text: nothing secret or redacted of the call, and no secret of known shape."""
    clean = ticket.marked.text(said)
    if deployment.detector is not None:
        clean = deployment.detector.scrubbed(clean)
    return values.Encoded(clean, scanned=True)


__all__ = ["keep", "text"]
