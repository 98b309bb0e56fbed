"""Guardrails in Cedar: an organisation's forbids over what grants allow. Importing this package imports `cedarpy`."""

from __future__ import annotations

from remit.authority.cedar.rules import CedarGuardrails

__all__ = ["CedarGuardrails"]
