"""Programs and builtins that run others: those that are understood, and those that never are."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from remit.errors import NotCanonical
from remit.resources.shell_programs import literal
from remit.resources.shell_special import Words
from remit.resources.text import shown, word_set

SHELLS: Final = frozenset({"sh", "bash", "dash"})

NEVER: Final = word_set("""
. source eval exec alias unalias export declare typeset local readonly unset set shopt trap enable hash bind pushd popd
mapfile readarray read getopts let builtin complete compgen fc history return jobs fg bg disown suspend logout times
coproc sudo doas su runuser pkexec chroot nsenter unshare setpriv capsh xargs parallel watch entr script expect screen
tmux at batch crontab ssh scp sftp rsync strace ltrace gdb perf flock systemd-run busybox toybox zsh ksh fish csh tcsh
ash mksh rbash pwsh cmd setarch linux32 linux64 run-parts start-stop-daemon daemonize socat nc ncat netcat telnet
""")
"""What runs other commands, reaches other machines, or changes what later words mean. Listing one of them under
`programs` changes nothing."""


def inner_text(name: str, words: Words) -> str:
    """The command of `sh -c 'command'`. Raises NotCanonical for any other use of a shell."""
    given = list(words)
    while given:
        option = literal(given.pop(0), name)
        if re.fullmatch(r"-[eux]*c", option) and given:
            return literal(given[0], name)
        if not re.fullmatch(r"-[eux]+", option):
            break
    raise NotCanonical(f"{name} runs text from elsewhere; expected {name} -c and the command itself")


def _env(words: Words) -> Words:
    given = list(words)
    while given:
        text = literal(given[0], "env")
        if text in ("-i", "-", "--ignore-environment"):
            given.pop(0)
        elif text == "-u" and len(given) > 1:
            del given[:2]
        elif text == "--":
            given.pop(0)
            break
        elif text.startswith("-"):
            raise NotCanonical(f"the option {shown(text)} of env is not one that is understood")
        elif "=" in text:
            if text.partition("=")[0] not in HARMLESS:
                raise NotCanonical(f"{shown(text)} can change what a program does; expected none")
            given.pop(0)
        else:
            break
    return given


def _plain_options(name: str, flags: str, valued: str, operands: int = 0) -> Callable[[Words], Words]:
    """A wrapper with short options and a number of operands of its own before the command."""
    option = re.compile(rf"-[{flags}]+\Z" if flags else r"(?!)")
    with_value = re.compile(rf"-[{valued}]\Z" if valued else r"(?!)")
    glued = re.compile(rf"-[{valued}].+" if valued else r"(?!)", re.DOTALL)

    def rest(words: Words) -> Words:
        given = list(words)
        while given and literal(given[0], name).startswith("-"):
            text = literal(given.pop(0), name)
            if with_value.match(text) and given:
                literal(given.pop(0), name)
            elif not option.match(text) and not glued.match(text):
                raise NotCanonical(f"the option {shown(text)} of {name} is not one that is understood")
        for _ in range(operands):
            if not given:
                raise NotCanonical(f"{name} lacks an argument")
            literal(given.pop(0), name)
        if not given:
            raise NotCanonical(f"{name} has no command to run")
        return given

    return rest


def _command(words: Words) -> Words:
    """`command -v name` runs nothing; `command name …` runs it, past functions."""
    if words and literal(words[0], "command") in ("-v", "-V"):
        for word in words[1:]:
            literal(word, "command")
        return ()
    return _plain_options("command", "", "")(words)


WRAPPERS: Final[dict[str, Callable[[Words], Words]]] = {
    "env": _env,
    "command": _command,
    "nohup": _plain_options("nohup", "", ""),
    "nice": _plain_options("nice", "", "n"),
    "ionice": _plain_options("ionice", "t", "cn"),
    "time": _plain_options("time", "pv", ""),
    "timeout": _plain_options("timeout", "v", "ks", operands=1),
    "stdbuf": _plain_options("stdbuf", "", "ioe"),
    "setsid": _plain_options("setsid", "fw", ""),
}
"""What each does with its arguments: the command that is left to run, if any. Raises NotCanonical."""

HARMLESS: Final = frozenset({"LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_COLLATE", "TZ", "NO_COLOR", "CI", "COLUMNS"})
"""Variables that may be set for one command."""
