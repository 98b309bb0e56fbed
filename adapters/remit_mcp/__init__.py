"""MCP behind the gate: servers in their own process (`govern`), and any stdio server from outside (`proxy`).

```python
server = remit_mcp.govern(server, app=app, server="crm", grants=remit_mcp.from_template("grants/triage.yaml"))
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from remit_mcp.grants import Caller, Grants, by_reference, fixed, from_template
from remit_mcp.proxy import proxy, run_stdio
from remit_mcp.tokens import from_token

if TYPE_CHECKING:
    from remit_mcp.governing import govern

__all__ = ["Caller", "Grants", "by_reference", "fixed", "from_template", "from_token", "govern", "proxy", "run_stdio"]


def __getattr__(name: str) -> Any:
    """`govern` needs the MCP SDK and is imported when it is asked for; the proxy starts without it."""
    if name == "govern":
        from remit_mcp.governing import govern

        return govern
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
