"""MCP behind the gate: servers in their own process (`govern`), and any stdio server from outside (`proxy`).

```python
server = remit_mcp.govern(server, app=app, server="crm", grants=remit_mcp.from_template("grants/triage.yaml"))
```
"""

from remit_mcp.governing import govern
from remit_mcp.grants import Caller, Grants, by_reference, fixed, from_template
from remit_mcp.proxy import proxy, run_stdio

__all__ = ["Caller", "Grants", "by_reference", "fixed", "from_template", "govern", "proxy", "run_stdio"]
