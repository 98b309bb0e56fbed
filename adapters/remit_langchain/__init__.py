"""Remit for LangChain and LangGraph.

```python
import remit
from remit_langchain import govern

tools = govern([read_ticket, comment], server="crm")
with app.session(grant):
    create_agent(model, tools).invoke({"messages": [("user", "Triage ticket 88")]})
```

`govern` needs `langchain-core` only; `RemitMiddleware` needs `langchain` and `langgraph`, and is imported when used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from remit_langchain.governing import GovernedTool, govern

if TYPE_CHECKING:
    from remit_langchain.middleware import RemitMiddleware

__all__ = ["GovernedTool", "RemitMiddleware", "govern"]


def __getattr__(name: str) -> Any:
    if name == "RemitMiddleware":
        from remit_langchain.middleware import RemitMiddleware

        return RemitMiddleware
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
