"""Where errors leave the command line: one sentence on stderr and an exit code, never a traceback.

0: ok. 1: the answer is no (refused, not verified, something found). 2: the command cannot work as it was given.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Final

import typer
from typer.core import TyperGroup

from remit.errors import GrantError, RemitError, UsageError

NO: Final = 1
MISUSE: Final = 2
STOPPED: Final = 130


class RemitGroup(TyperGroup):
    """The root command. Whatever a command raises ends here."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run, then leave with the right code."""
        extra["standalone_mode"] = False
        extra["prog_name"] = "remit"
        try:
            code = super().main(*args, **extra)
        except Exception as error:
            if os.environ.get("REMIT_DEBUG"):
                raise
            code = tell(error)
        sys.exit(code if isinstance(code, int) else 0)


def tell(error: Exception) -> int:
    """Say on stderr what went wrong, in one sentence; returns the exit code."""
    if isinstance(error, RemitError):
        return _refused(error)
    if isinstance(error, typer.Abort):
        say("stopped")
        return STOPPED
    if hasattr(error, "format_message"):  # the parser's own errors; where their classes live changes between versions
        return _wrong_command(error)
    say(f"unexpected {type(error).__name__}: {error} (set REMIT_DEBUG=1 to see where)")
    return NO


def _refused(error: RemitError) -> int:
    say(str(error))
    for problem in error.problems if isinstance(error, GrantError) else ():
        if problem not in str(error):
            typer.echo(f"  {problem}", err=True)
    return MISUSE if isinstance(error, UsageError) else NO


def _wrong_command(error: Any) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return MISUSE
    context = getattr(error, "ctx", None)
    hint = f" (`{context.command_path} --help` shows how)" if context is not None else ""
    say(f"{error.format_message().replace('Value error, ', '').rstrip('.')}{hint}")
    return MISUSE


def say(sentence: str) -> None:
    """One line on stderr."""
    typer.echo(f"remit: {sentence}", err=True)
