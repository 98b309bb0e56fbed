"""A refusal in LangChain's terms: a tool message for a model, an exception for a program."""

from __future__ import annotations

from langchain_core.messages import ToolMessage

import remit


def refusal_message(denied: remit.Denied, tool_call_id: str, name: str) -> ToolMessage:
    """The answer to a refused tool call: `status="error"`, one sentence, and the facts under `artifact["remit"]`."""
    facts = {
        "code": denied.code,
        "rule": denied.rule,
        "call_id": denied.call_id,
        "remedy": denied.remedy.as_dict(),
    }
    return ToolMessage(
        content=remit.denial_text(denied),
        artifact={"remit": facts},
        tool_call_id=tool_call_id,
        name=name,
        status="error",
    )
