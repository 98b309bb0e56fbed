"""An MCP server behind the gate: one ticket may be read, another may not, and both are on record.

Run it with `python examples/mcp_quickstart.py`; it needs `pip install "remit[mcp]"`, no key and no network.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from mcp import Client
from mcp.server import MCPServer
from mcp.types import TextContent

import remit
from remit_mcp import from_template

GRANT = """
template: triage
parameters:
  ticket: {type: integer, min: 1}
task: Triage ticket ${ticket}
principal: user:ravi@acme.com
agent: spiffe://acme.com/agents/triage
expires_in: 20m
tools:
  crm.read_ticket:
    arguments: {number: "${ticket}"}
"""

server = MCPServer("helpdesk", log_level="WARNING")


@server.tool()
def read_ticket(number: int) -> str:
    """Read one ticket."""
    return f"Ticket {number}: the printer is on fire"


async def main(folder: Path) -> None:
    """Govern the server, call it as any client would, and read the ledger."""
    template = folder / "triage.yaml"
    template.write_text(GRANT, encoding="utf-8")
    with remit.open(f"sqlite:///{folder / 'remit.db'}", development=True) as app:
        grants = from_template(template, {"ticket": 88}, credential="user:ravi@acme.com")
        remit.govern(server, app=app, server="crm", grants=grants)

        async with Client(server) as client:
            for ticket in (88, 89):
                result = await client.call_tool("read_ticket", {"number": ticket})
                [said] = result.content
                assert isinstance(said, TextContent)
                print("refused" if result.is_error else "allowed", said.text)

        for record in app.records():
            print(record.index, record.type, record.data.get("tool", ""), record.data.get("status", ""))
        print("verified", app.verify().size, "records")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder)))
