"""Identifiers: a kind, then 128 bits that sort by time of making (the layout of RFC 9562 UUIDv7, in hex)."""

from __future__ import annotations

import os
import time


def new_id(prefix: str) -> str:
    """A fresh id such as `g-0192f3…`: 48 bits of Unix milliseconds, then 80 random bits. Never reused."""
    return f"{prefix}-{int(time.time() * 1000) & 0xFFFFFFFFFFFF:012x}{os.urandom(10).hex()}"
