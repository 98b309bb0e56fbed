"""Whether a delegated grant is narrower than the grant that it comes from, and why not."""

from __future__ import annotations

from remit.authority.narrower.compare import Widening, narrower, refuse, require_narrower, widenings

__all__ = ["Widening", "narrower", "refuse", "require_narrower", "widenings"]
