"""Programs whose arguments are understood: which of them are files, and what is done to those.

One line for each. Options that are not listed are refused, abbreviated ones included, so that none that runs a
program, reads a list of files or writes one goes unseen. A program that has no line is refused too, unless the
catalogue's entry lists it under `programs`: then running it is the one access, and its arguments are its own
business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, cast

from remit.errors import NotCanonical
from remit.resources.shell_tree import Word
from remit.resources.text import shown, word_set

Operands = Literal["none", "read", "write", "pattern", "filter", "format", "mode", "copy", "move", "link", "tree"]
"""What operands are. `none`: no files. `read`, `write`: files. `tree`: read, and the working directory when there is
none. `pattern`, `filter`, `mode`: the first is no file; the others are read, read, written. `format`: only `+…`.
`copy`: read, but the last of several is written. `move`, `link`: all are written."""


class Touch(NamedTuple):
    """One file, or repository, that a command names, and what it does to it."""

    action: str
    path: str
    scheme: str = "file"


@dataclass(frozen=True, slots=True)
class Spec:
    """`flags` and `valued` are short options without and with a value, `long` and `long_valued` likewise; `reads` and
    `writes` are those whose value is a file, `patterns` those whose value is the pattern.
    """

    operands: Operands
    flags: frozenset[str]
    valued: frozenset[str]
    long: frozenset[str]
    long_valued: frozenset[str]
    reads: frozenset[str]
    writes: frozenset[str]
    patterns: frozenset[str]


PLAIN: Final = word_set("""
echo printf true false : pwd whoami id uname sleep seq basename dirname expr nproc uptime arch tty groups logname
exit type which ps free getconf locale wait break continue umask
""")
"""Programs whose arguments name neither files nor programs."""

_TABLE: Final = """
cat | read | AbeEnstTuv |  | number number-nonblank squeeze-blank show-all show-ends show-tabs |
tac | read | br | s | before regex | separator
nl | read | p | bdfhilnsvw |  |
head | read | qvz0123456789 | cn | quiet silent verbose | lines bytes
tail | read | fFqvz0123456789 | cns | follow quiet silent verbose retry | lines bytes pid sleep-interval
ls | tree | aAbBcCdfFgGhHiklLmnNopqQrRsStuUvxX1Z |  | all almost-all human-readable recursive reverse size
    directory inode numeric-uid-gid full-time group-directories-first classify color | color sort time
    time-style ignore hide format block-size
wc | read | clmwL |  | bytes chars lines words max-line-length |
sort | read | bcCdfghiMnrRsuVzm | ktS w:o | numeric-sort reverse unique stable ignore-case human-numeric-sort
    version-sort check merge | key field-separator w:output
uniq | copy | cdDiuz | fsw | count repeated unique ignore-case | skip-fields skip-chars check-chars
cut | read | nsz | bcdf | complement only-delimited zero-terminated | bytes characters delimiter fields
    output-delimiter
tr | none | cCdst |  | complement delete squeeze-repeats truncate-set1 |
paste | read | sz | d | serial zero-terminated | delimiters
join | read | iz | aejotv12 | header ignore-case |
comm | read | 123z |  | check-order nocheck-order total | output-delimiter
fold | read | bs | w | bytes spaces | width
fmt | read | cstu | wp |  | width
rev | read |  |  |  |
expand | read | i | t | initial | tabs
od | read | bcdfhiloxsv | AjNt |  | address-radix skip-bytes read-bytes format
xxd | copy | abEiprucC | clogs |  |
hexdump | read | bcCdovx | ns |  |
strings | read | a | net | all | bytes radix encoding
base64 | read | di | w | decode ignore-garbage | wrap
md5sum | read | btz |  | binary text tag zero |
sha1sum | read | btz |  | binary text tag zero |
sha256sum | read | btz |  | binary text tag zero |
sha512sum | read | btz |  | binary text tag zero |
cksum | read |  |  |  |
diff | read | abBcdeEiNqrstTuwy | CUWFI | brief recursive unified side-by-side report-identical-files
    ignore-case ignore-all-space ignore-blank-lines new-file text minimal color | unified context width color
    label
cmp | read | bls | in | print-bytes verbose silent quiet | bytes ignore-initial
stat | read | Lft | c | dereference file-system terse | format printf
file | read | bhiLkNnprsv0 | FP | brief mime mime-type dereference | separator
readlink | read | efmnqsvz |  | canonicalize canonicalize-existing canonicalize-missing no-newline |
realpath | read | emLPqsz |  | canonicalize-existing canonicalize-missing strip no-symlinks | r:relative-to
    r:relative-base
du | tree | abchHkLmsSxlPD0 | dBt | all total human-readable summarize one-file-system apparent-size | max-depth
    block-size exclude threshold
df | tree | ahHiklPTv | Bt | all human-readable inodes local portability print-type total | block-size type
    exclude-type
tree | tree | adfiugpshDFQqNrtCxl | LPI | dirsfirst noreport prune du | filelimit charset timefmt
grep | pattern | acEFGHhiILlnoPqrRsvwxzbZUTyV0123456789 | ABCmdD e:e r:f | extended-regexp fixed-strings
    perl-regexp basic-regexp ignore-case invert-match word-regexp line-regexp count files-with-matches
    files-without-match line-number with-filename no-filename only-matching quiet silent no-messages recursive
    dereference-recursive text null color | e:regexp r:file after-context before-context context max-count
    include exclude exclude-dir color colour binary-files directories label
egrep | pattern | acHhiILlnoqrRsvwxz | ABCm e:e r:f | ignore-case recursive line-number color | include exclude
    exclude-dir color
fgrep | pattern | acHhiILlnoqrRsvwxz | ABCm e:e r:f | ignore-case recursive line-number color | include exclude
    exclude-dir color
jq | filter | cCejMnrsSaR |  | compact-output raw-output raw-input null-input slurp sort-keys exit-status
    monochrome-output join-output ascii-output color-output tab |
date | format | uR | d | utc universal rfc-email iso-8601 | date iso-8601 rfc-3339
touch | write | acfhm | dt r:r | no-create no-dereference | date time r:reference
mkdir | write | pv | m | parents verbose | mode
rmdir | write | pv |  | parents verbose ignore-fail-on-non-empty |
rm | write | dfiIrRv |  | force recursive verbose dir one-file-system |
unlink | write |  |  |  |
truncate | write | co | s r:r | no-create | size r:reference
shred | write | fuvxz | ns | force verbose zero remove | iterations size
tee | write | aip |  | append ignore-interrupts |
cp | copy | adfHiLnPprRTuvxZ | w:t | archive force interactive no-clobber recursive update verbose
    no-target-directory dereference no-dereference preserve | w:target-directory preserve
mv | move | finTuvZ | w:t | force interactive no-clobber update verbose no-target-directory | w:target-directory
ln | link | bfinPLsTv |  | symbolic force interactive no-dereference no-target-directory verbose |
chmod | mode | cfvR |  | changes recursive verbose silent quiet |
chown | mode | cfvRhHLP |  | changes recursive verbose silent quiet no-dereference dereference |
chgrp | mode | cfvRhHLP |  | changes recursive verbose silent quiet no-dereference dereference |
"""
"""program | operands | short flags | short options with a value | long flags | long options with `=value`.

`r:`, `w:` and `e:` before an option say that its value is a file that is read or written, or the pattern."""


def _specs() -> Iterator[tuple[str, Spec]]:
    for line in _TABLE.replace("\n    ", " ").strip().splitlines():
        name, operands, flags, valued, long, long_valued = (part.strip() for part in line.split("|"))
        short = [each for word in valued.split() for each in ([word] if ":" in word else word)]
        marked = [word.rpartition(":") for word in (*short, *long_valued.split())]
        by_mark = {mark: frozenset(option for each, _, option in marked if each == mark) for mark in "rwe"}
        yield (
            name,
            Spec(
                operands=cast(Operands, operands),
                flags=frozenset(flags),
                valued=frozenset(word[-1] for word in short),
                long=frozenset(long.split()),
                long_valued=frozenset(word.rpartition(":")[2] for word in long_valued.split()),
                reads=by_mark["r"],
                writes=by_mark["w"],
                patterns=by_mark["e"],
            ),
        )


SPECS: Final = dict(_specs())


def touched(name: str, words: Sequence[Word]) -> Iterator[Touch]:
    """The files that a command of the table names. `words` are its arguments. Raises NotCanonical."""
    spec = SPECS[name]
    options = _Options(name, spec, words)
    yield from options.files
    if spec.operands == "pattern" and not options.patterned:
        options.drop_first("a pattern")
    recursive = options.seen & {"r", "R", "recursive", "dereference-recursive"}
    operands = options.operands
    if spec.operands in ("filter", "mode"):
        first = options.drop_first("what to do")
        if spec.operands == "filter" and _REACHING.search(first):
            raise NotCanonical("the filter reads more than its input")
    if not operands and (spec.operands == "tree" or (spec.operands == "pattern" and recursive)):
        yield Touch("read", ".")
    yield from _by_role(spec, name, options)


_REACHING: Final = re.compile(r"\b(?:env|ENV|import|include|input\w*|modulemeta|get_search_list|halt\w*)\b|\$__")


def _by_role(spec: Spec, name: str, options: _Options) -> Iterator[Touch]:
    operands, role = options.operands, spec.operands
    if role == "format":
        if not all(each.startswith("+") for each in operands):
            raise NotCanonical(f"{name} with {shown(' '.join(operands))} sets what it shows; expected +format")
        return
    if role == "none":
        return
    if role == "link" and len(operands) != 2:
        raise NotCanonical(f"{name} is understood with two names only; expected an existing and a new one")
    if role == "link" and options.seen & {"s", "symbolic"} and not operands[0].startswith("/"):
        raise NotCanonical("a symbolic link leads from where it lies; expected an absolute path to what it points to")
    copies = role == "copy" and len(operands) > 1 and not options.targets
    for index, each in enumerate(operands):
        last = index == len(operands) - 1
        writes = role in ("write", "mode", "move", "link") or (copies and last)
        if each == "-" and (writes or role == "tree"):
            raise NotCanonical(f"{name} of - is a file to some and the standard output to others")
        if role in ("move", "link") and not (last and not options.targets):
            yield Touch("read", each)  # its content can be read under the new name
        if each != "-":
            yield Touch("write" if writes else "read", each)
    if name in ("cp", "mv", "ln"):
        yield from _within(operands, options)


def _within(operands: list[str], options: _Options) -> Iterator[Touch]:
    """What a copy or move writes where its destination is a directory: the same names in there."""
    into = options.targets or operands[-1:]
    sources = operands if options.targets else operands[:-1]
    if not options.seen & {"T", "no-target-directory"}:
        for source in sources:
            yield Touch("write", f"{into[0].rstrip('/')}/{source.rstrip('/').rpartition('/')[2]}")


class _Options:
    """The options of one command, checked; what is left are its operands."""

    def __init__(self, name: str, spec: Spec, words: Sequence[Word]) -> None:
        self.name = name
        self.spec = spec
        self.seen: set[str] = set()
        self.files: list[Touch] = []
        self.targets: list[str] = []
        self.operands: list[str] = []
        self.patterned = False
        self._waiting = list(words)
        while self._waiting:
            self._next()

    def _take(self) -> str:
        if not self._waiting:
            raise NotCanonical(f"an option of {self.name} has no value")
        return literal(self._waiting.pop(0), self.name)

    def _next(self) -> None:
        if self._waiting[0].process and self.spec.operands in ("read", "pattern", "filter"):
            self._waiting.pop(0)
            self.operands.append("-")
            return
        text = self._take()
        if text == "--":
            self.operands.extend(self._take() for _ in range(len(self._waiting)))
        elif text.startswith("--"):
            self._long(*text[2:].partition("="))
        elif text.startswith("-") and text != "-":
            self._short(text[1:])
        else:
            self.operands.append(text)

    def _long(self, option: str, equals: str, value: str) -> None:
        if option in self.spec.long_valued and equals:
            self._value(option, value)
        elif option not in self.spec.long or equals:
            raise self._unknown(f"--{option}")
        self.seen.add(option)

    def _short(self, letters: str) -> None:
        for index, letter in enumerate(letters):
            if letter in self.spec.valued:
                self._value(letter, letters[index + 1 :] or self._take())
                self.seen.add(letter)
                return
            if letter not in self.spec.flags:
                raise self._unknown(f"-{letter}")
            self.seen.add(letter)

    def _value(self, option: str, value: str) -> None:
        self.patterned = self.patterned or option in self.spec.patterns
        if option in self.spec.reads:
            self.patterned = self.patterned or self.spec.operands == "pattern"
            self.files.append(Touch("read", value))
        elif option in self.spec.writes:
            self.files.append(Touch("write", value))
            self.targets.append(value)

    def drop_first(self, what: str) -> str:
        if not self.operands:
            raise NotCanonical(f"{self.name} has no argument that says {what}")
        return self.operands.pop(0)

    def _unknown(self, option: str) -> NotCanonical:
        return NotCanonical(f"the option {shown(option)} of {self.name} is not one that is understood")


def literal(word: Word, name: str) -> str:
    """What a word says. Raises NotCanonical when the shell would expand anything in it."""
    if not word.literal:
        raise NotCanonical(
            f"an argument of {name}, {shown(word.text)}, is expanded by the shell, so what it names is not known; "
            "expected plain text"
        )
    return word.text
