"""Programs that need more than a line in a table: find, sed, test, git, curl."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from remit.errors import NotCanonical
from remit.resources.shell_programs import Touch, literal
from remit.resources.shell_tree import Word
from remit.resources.text import shown, word_set
from remit.resources.urls import parse_url

Words = Sequence[Word]
Touched = Iterator[Touch | tuple[str, str]]
"""Files, and other resources as (action, URI)."""

_FIND_TESTS: Final = word_set("""
-name -iname -path -ipath -wholename -regex -iregex -type -size -mtime -mmin -atime -amin -ctime -cmin -maxdepth
-mindepth -user -group -uid -gid -perm -links -inum -fstype -printf -regextype -xtype
""")
_FIND_PLAIN: Final = word_set("""
-print -print0 -ls -prune -quit -empty -true -false -depth -mount -xdev -follow -readable -writable -executable -not
-and -or -a -o ! ( ) , -daystart -noleaf -nouser -nogroup
""")
_TEST_FILES: Final = word_set("-e -f -d -r -w -x -s -L -h -b -c -p -S -g -u -k -O -G -N")
_TEST_STRINGS: Final = word_set("= == != -z -n -eq -ne -lt -le -gt -ge ! -a")
_SED_LINES: Final = re.compile(r"(?:(?:[0-9]+|\$)(?:,(?:[0-9]+|\$|\+[0-9]+))?)?[pdq=]?\Z|/[A-Za-z0-9 _.^$*-]+/[pd]\Z")
_SED_SUBSTITUTE: Final = re.compile(r"(?:(?:[0-9]+|\$)(?:,(?:[0-9]+|\$))?)?s([/|#,:@!])(.*)\Z")
_BRACKETS: Final = re.compile(r"\[\^?\]?[^]]*\]")
_GIT_READS: Final = word_set("""
status log diff show blame rev-parse rev-list ls-files ls-tree cat-file describe shortlog reflog grep merge-base
name-rev diff-tree count-objects check-ignore whatchanged cherry for-each-ref show-ref var version
""")
_GIT_WRITES: Final = word_set("""
add commit branch checkout switch restore merge reset rm mv init cherry-pick tag stash clean revert gc notes
fetch pull push update-index prune
""")
_GIT_NEVER: Final = word_set(
    "upload-pack receive-pack exec open-files-in-pager ext-diff textconv output no-index template config "
    "pathspec-from-file file attr-source git-dir work-tree separate-git-dir edit reedit-message editor gpg-sign "
    "signed show-signature recurse-submodules super-prefix filter strategy contents ignore-revs-file exclude-from "
    "orderfile repo push-option server-option"
)
"""Long options, of which abbreviations count too, that run programs or name files and places elsewhere."""
_GIT_NEVER_SHORT: Final = {
    "grep": "Of", "rebase": "x", "commit": "FecCtS", "tag": "Fsuv", "log": "O", "diff": "O", "show": "O", "add": "e",
    "merge": "sXSFe", "revert": "Se",
    "cherry-pick": "Se", "pull": "sXSuo", "fetch": "uo", "push": "o", "blame": "S", "notes": "Fc", "ls-files": "X",
}  # fmt: skip
_CURL_FLAGS: Final = frozenset("sSfivIkgG#N46")
_CURL_LONG: Final = word_set("silent show-error fail include head verbose compressed fail-with-body get globoff")
_CURL_VALUED: Final = {"X": "request", "H": "header", "d": "data", "m": "max-time", "o": "output", "A": "user-agent"}
_CURL_LONG_VALUED: Final = {
    **{long: long for long in _CURL_VALUED.values()},
    "data-raw": "data-raw", "connect-timeout": "max-time", "max-time": "max-time", "retry": "max-time",
}  # fmt: skip


def find(words: Words) -> Iterator[Touch]:
    """Start points are read, or written with `-delete`; what runs programs or writes files is refused."""
    given = [literal(word, "find") for word in words]
    while given and given[0] in ("-H", "-L", "-P"):
        given.pop(0)
    starts = []
    while given and not given[0].startswith("-") and given[0] not in ("(", ")", "!", ","):
        starts.append(given.pop(0))
    deletes = False
    while given:
        word = given.pop(0)
        if word == "-delete":
            deletes = True
        elif word in ("-newer", "-anewer", "-cnewer", "-samefile") and given:
            yield Touch("read", given.pop(0))
        elif word in _FIND_TESTS and given:
            given.pop(0)
        elif word not in _FIND_PLAIN:
            raise NotCanonical(f"{shown(word)} of find is not one that is understood")
    for start in starts or ["."]:
        yield from (Touch(action, start) for action in (("read", "write") if deletes else ("read",)))


def sed(words: Words) -> Iterator[Touch]:
    """Printing and deleting lines, and plain substitutions; in place is a write."""
    given = [literal(word, "sed") for word in words]
    scripts: list[str] = []
    operands: list[str] = []
    in_place = False
    while given:
        word = given.pop(0)
        if word in ("-e", "--expression") and given:
            scripts.append(given.pop(0))
        elif word in ("-i", "--in-place"):
            in_place = True
        elif word == "--":
            operands.extend(given)
            given = []
        elif re.fullmatch(r"-[nErsuz]+", word) or word in ("--quiet", "--silent", "--regexp-extended", "--posix"):
            continue
        elif word.startswith("-") and word != "-":
            raise NotCanonical(f"{shown(word)} of sed is not one that is understood")
        else:
            operands.append(word)
    if not scripts:
        if not operands:
            raise NotCanonical("sed has no script")
        scripts.append(operands.pop(0))
    for script in scripts:
        _require_plain_script(script)
    for each in operands:
        if each != "-":
            yield from (Touch(action, each) for action in (("read", "write") if in_place else ("read",)))


def _require_plain_script(script: str) -> None:
    """A script that can neither run a program nor name a file (commands `e`, `r`, `w`, and flags of `s`)."""
    if _SED_LINES.match(script):
        return
    found = _SED_SUBSTITUTE.match(script)
    if found is not None and "\n" not in script:
        plain = _split(found[2], found[1])
        bare = _split(_BRACKETS.sub("x", found[2]), found[1])
        if len(plain) == len(bare) == 3 and plain[2] == bare[2] and re.fullmatch(r"[gpIi0-9]*", plain[2]):
            return
    raise NotCanonical(f"the sed script {shown(script)} is not one that is understood")


def _split(text: str, delimiter: str) -> list[str]:
    parts, current, at = [], "", 0
    while at < len(text):
        if text[at] == "\\":
            current += text[at : at + 2]
            at += 2
        elif text[at] == delimiter:
            parts.append(current)
            current, at = "", at + 1
        else:
            current += text[at]
            at += 1
    return [*parts, current]


def test(words: Words) -> Iterator[Touch]:
    """`test` and `[`: files that are asked about are read."""
    if len(words) == 2 and words[0].literal and words[0].text in ("-z", "-n") and words[1].single:
        return
    if (
        len(words) == 3
        and words[1].literal
        and words[1].text in ("=", "!=", "==")
        and words[0].single
        and words[2].single
    ):
        return
    given = [literal(word, "test") for word in words]
    while given:
        word = given.pop(0)
        if word in _TEST_FILES and given:
            yield Touch("read", given.pop(0))
        elif (given[:1] and given[0] in ("-nt", "-ot", "-ef")) or word in ("-nt", "-ot", "-ef"):
            raise NotCanonical(f"{shown(' '.join([word, *given]))} of test is not one that is understood")
        elif word.startswith("-") and word not in _TEST_STRINGS and not re.fullmatch(r"-[0-9]+", word):
            raise NotCanonical(f"{shown(word)} of test is not one that is understood")


def bracket(words: Words) -> Iterator[Touch]:
    if not words or not words[-1].literal or words[-1].text != "]":
        raise NotCanonical("[ is not closed by ]")
    yield from test(words[:-1])


def git(words: Words) -> Iterator[Touch]:
    """Reads and writes of the repository at the working directory, or of the one named by `-C`.

    What its own hooks and configuration run is out of sight. Options that run programs, or that name files and
    repositories elsewhere, are refused.
    """
    given = [literal(word, "git") for word in words]
    place = "."
    while given and given[0].startswith("-"):
        option = given.pop(0)
        if option == "-C" and given and place == ".":
            place = given.pop(0)
        elif option == "--version" and not given:
            return
        elif option not in ("--no-pager", "-P", "--no-optional-locks"):
            raise NotCanonical(f"the option {shown(option)} of git is not one that is understood")
    command = given.pop(0) if given else ""
    if command not in _GIT_READS | _GIT_WRITES:
        raise NotCanonical(f"git {shown(command)} is not one that is understood")
    _require_plain_git(command, given)
    if command in _GIT_WRITES or (command == "reflog" and given and given[0] != "show"):
        yield Touch("write", place, "git")
    if command == "push":
        yield Touch("send", place, "git")
    yield Touch("read", place, "git")


def _require_plain_git(command: str, given: list[str]) -> None:
    if any(_is_unread_git(command, word) for word in given):
        raise NotCanonical(f"{shown(' '.join(given))} is not what is understood after git {command}")
    if command == "commit" and not any(re.match(r"-[a-z]*m|--message|--no-edit\Z", word) for word in given):
        raise NotCanonical("git commit without a message runs an editor; expected -m")


def _is_unread_git(command: str, word: str) -> bool:
    if word.startswith("--") and len(word) > 2:
        option = word[2:].partition("=")[0]
        forms = (option, option.removeprefix("no-"))
        never = any(form.startswith(each) or each.startswith(form) for form in forms for each in _GIT_NEVER)
        return never and word != "--no-edit"
    if word.startswith("-"):
        return bool(set(word[1:]) & set(_GIT_NEVER_SHORT.get(command, "")))
    if command in ("fetch", "pull", "push", "init"):
        return any(letter in word for letter in ":/.")
    return command in ("diff", "grep") and (word.startswith("/") or ".." in word.split("/"))


def curl(words: Words) -> Touched:
    """One URL, as a send: what is in it leaves the machine. Yields (`send`, URL) beside files that are written."""
    given = list(words)
    urls: list[str] = []
    while given:
        text = literal(given.pop(0), "curl")
        if not text.startswith("-") or text == "-":
            urls.append(text)
            continue
        option, value = _curl_option(text, given)
        if option == "output" and value not in (None, "-"):
            yield Touch("write", str(value))
        elif option == "data" and value is not None and value.startswith("@"):
            yield Touch("read", value[1:])
        elif option == "header" and value is not None and value.startswith("@"):
            raise NotCanonical("a header that curl reads from a file is not understood")
    if len(urls) != 1:
        raise NotCanonical(f"curl has {len(urls)} URLs; expected one, whole and with its scheme")
    if any(letter in urls[0] for letter in "{}[]"):
        raise NotCanonical("curl expands braces and brackets in a URL; expected none")
    yield ("send", str(parse_url(urls[0], schemes=("http", "https"))))


def _curl_option(text: str, given: list[Word]) -> tuple[str, str | None]:
    if text.startswith("--"):
        option = text[2:]
        if option in _CURL_LONG:
            return option, None
        if option in _CURL_LONG_VALUED and given:
            return _CURL_LONG_VALUED[option], literal(given.pop(0), "curl")
        raise NotCanonical(f"the option {shown(text)} of curl is not one that is understood")
    for index, letter in enumerate(text[1:], start=1):
        if letter in _CURL_VALUED:
            value = text[index + 1 :] or (literal(given.pop(0), "curl") if given else None)
            return _CURL_VALUED[letter], value
        if letter not in _CURL_FLAGS:
            raise NotCanonical(f"the option {shown(text)} of curl is not one that is understood")
    return text, None


SPECIAL: Final[dict[str, Callable[[Words], Touched]]] = {
    "find": find, "sed": sed, "test": test, "[": bracket, "git": git, "curl": curl,
}  # fmt: skip
