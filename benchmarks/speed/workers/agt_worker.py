"""Microsoft's Agent Governance Toolkit, by its quick-start path: `govern()` over ten rules, then its audit log.

The tool must take `action=`: `govern()` reads the action from there, never from the function's name. The file sink
is set on a private attribute, because the documented `audit_file=` writes no file in 5.0.0.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import sys
import tempfile
from pathlib import Path

import serving
from agentmesh.governance import GovernanceDenied, govern
from agentmesh.governance.audit import AuditLog
from agentmesh.governance.audit_backends import FileAuditSink
from workload import CALLS, TEN_RULES, TOOL, refund

logging.disable(logging.ERROR)
folder = Path(tempfile.mkdtemp(dir=sys.argv[1]))


def tool(action: str, **arguments: object) -> object:
    return refund(**arguments)  # type: ignore[arg-type]


deciding = govern(tool, policy=TEN_RULES, agent_id="refunds", audit=False)
in_memory = govern(tool, policy=TEN_RULES, agent_id="refunds")
in_file = govern(tool, policy=TEN_RULES, agent_id="refunds")


def fresh_logs() -> None:
    """The log keeps every entry in memory; a fresh one for each batch keeps the batches alike."""
    in_memory._audit = AuditLog()
    in_file._audit = AuditLog(sink=FileAuditSink(Path(tempfile.mktemp(dir=folder)), b"k" * 32))


def cases(governed: object) -> serving.Case:
    def run(asked: serving.Mapping[str, object]) -> dict[str, object]:
        fresh_logs()
        return serving.cost(lambda n: governed(action=TOOL, **CALLS[n & 63]), int(str(asked["calls"])))  # type: ignore[operator]

    return run


def decide(asked: serving.Mapping[str, object]) -> dict[str, object]:
    return serving.latencies(lambda n: deciding(action=TOOL, **CALLS[n & 63]), int(str(asked["calls"])))


def prove() -> None:
    """A comparison with something that does not refuse, or does not write, would be worth nothing."""
    fresh_logs()
    in_file(action=TOOL, **CALLS[0])
    if not list(folder.iterdir()):
        raise SystemExit("AGT wrote no audit file: this set-up measures nothing")
    try:
        deciding(action=TOOL, **{**CALLS[0], "amount": 51.0})
    except GovernanceDenied:
        return
    raise SystemExit("AGT let an amount above the rule's bound pass: this set-up measures nothing")


if __name__ == "__main__":
    os.chdir(folder)
    prove()
    serving.serve(
        {"decide": decide, "off": cases(deciding), "merkle": cases(in_memory), "file": cases(in_file)},
        {"name": "AGT", "version": importlib.metadata.version("agent-governance-toolkit-core")},
    )
