"""Remit's own command line, found in the arguments of programs that may otherwise be given any.

`python -m remit`, `uv run remit`, `python /srv/venv/bin/remit`, `python -c 'import remit …'`: running it is an access
of its own, so that the guardrail that keeps agents away from it sees it. What a program makes of its arguments cannot
be known in general (a script that calls it, a Makefile), so this finds what is written there, and no more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

OWN_PROGRAM: Final = "program://remit"

_MODULE_OPTION: Final = re.compile(r"-[A-Za-z]*m\Z")
_MODULE_GLUED: Final = re.compile(r"-[A-Za-z]*mremit(?:\.[\w.]*)?\Z", re.IGNORECASE)
_MODULE: Final = re.compile(r"remit(?:\.[\w.]*)?\Z", re.IGNORECASE)
_INSTALLED: Final = re.compile(r"(?:.*/)?(?:bin|scripts)/remit(?:\.exe)?\Z", re.IGNORECASE)
_SOURCE: Final = re.compile(r"(?:.*/)?remit/(?:cli/)?__(?:main|init)__\.py\Z", re.IGNORECASE)
_NAME: Final = re.compile(r"remit(?:\.exe)?(?:@.*|==.*)?\Z", re.IGNORECASE)
_CODE: Final = re.compile(r"(?s)(?=.*[\s;(]).*(?<![\w.-])remit(?![\w-])", re.IGNORECASE)
_CODE_OPTION: Final = re.compile(r"-[A-Za-z]*[ce]\Z")
_RUNNING: Final = frozenset({"run", "exec", "x", "execute"})
_RUNNERS: Final = frozenset({"uvx", "pipx", "env", "time", "nohup", "timeout"})


def is_remit(program: str) -> bool:
    """Whether a program, by name or path, is Remit's command line."""
    return program.replace("\\", "/").rpartition("/")[2].casefold().removesuffix(".exe") == "remit"


def starts_remit(program: str, arguments: Iterable[str]) -> bool:
    """Whether the arguments of a program say that it runs Remit's command line, or code that imports Remit."""
    runs = program in _RUNNERS
    before = ""
    for text in arguments:
        if _MODULE_GLUED.match(text) or _INSTALLED.match(text) or _SOURCE.match(text):
            return True
        if _MODULE_OPTION.match(before) and _MODULE.match(text):
            return True
        if _CODE_OPTION.match(before) and _CODE.match(text):
            return True
        if runs and _NAME.match(text):
            return True
        runs = runs or text in _RUNNING
        before = text
    return False
