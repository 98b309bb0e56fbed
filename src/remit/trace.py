"""W3C trace context, where the process has OpenTelemetry at work. Traces link to evidence; they never replace it."""

from __future__ import annotations

import sys


def trace_parent() -> str | None:
    """The current span as a `traceparent` header (W3C Trace Context 3.2), or None. Never imports OpenTelemetry."""
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return None
    context = api.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
