"""Hostile shell text: what hides a program, a file or a meaning is refused. And bash itself as the judge."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.errors import NotCanonical
from remit.resources.shell import ShellReader
from remit.resources.uris import encode_path
from tests.resources.test_shell import STRUCTURES, refused, touched


@pytest.mark.requirement("H73")
@pytest.mark.parametrize(
    "text",
    [
        "$X", "${X} x", "r$X x", "$(echo rm) x", "`echo rm` x", "r*m x", "r?m x", "{rm,x}", "rm${IFS}x", "~/run",
        "$'rm' x", '"$X" x', "r\\\nm x", "X=rm; $X x", "x=rm; $x y", "/bin/r? x", "$0", "rm\u00a0x",
        "\u0072\u0301m x",
    ],
)  # fmt: skip
def test_a_program_that_the_shell_would_compute_is_refused(text: str) -> None:
    """Variables, patterns, braces and substitutions in command position."""
    assert refused(text)


@pytest.mark.requirement("H74")
@pytest.mark.parametrize(
    "text",
    [
        "cat $X", 'cat "$X"', "cat $(echo /etc/passwd)", "cat *", "cat /etc/pass??", "cat [a-z]",
        "cat {a,/etc/passwd}", "cat ~/x", "cat ~root/x", "cat $'\\x2fetc'", 'cat $"x"', "cat ../x", "cat /b/../etc",
        "cat a//b", "cat /etc/%70asswd", "cat x\\\n", "cat a\\\\b", "ls > $X", "ls > ~/x", "ls > *", "ls > {a,b}",
        "ls >& $X", "cat < `echo x`", "echo *", "echo $X", "echo ~", "echo $(ls)", "echo `ls`", "printf %s $x",
        "cp a*", "rm -rf $X/", "x=/etc/*; echo $x", "for f in *; do true; done", "for f in a; do rm $f; done",
        'for f in a; do rm "$f"; done', "find $X", "git add *", "sort -o$X y", "head -n$X y",
    ],
)  # fmt: skip
def test_a_file_that_the_shell_would_compute_is_refused(text: str) -> None:
    """An expansion where a file is named, or one that would list files."""
    assert refused(text)


@pytest.mark.requirement("H75")
@pytest.mark.parametrize(
    "text",
    [
        "eval 'rm x'", "source x", ". x", ". ./x", "exec rm x", "exec > x", "alias ls=rm", "unalias ls",
        "ls() { rm x; }", "rm x; }", "function ls { rm x; }", "export X=1", "declare -x X=1", "typeset X",
        "readonly x=1", "local x", "unset x", "let x=1", "set -x", "set -- a", "shopt -s extglob",
        "trap 'rm x' EXIT", "enable -n test", "hash -p /x ls", "bind x", "pushd /", "popd", "read x", "mapfile x",
        "getopts a x", "builtin cd /", "coproc ls", "fc -s", "history", "jobs", "fg", "return", "logout", "PATH=/x",
        "PATH=/x ls", "LD_PRELOAD=x ls", "GIT_SSH_COMMAND=x git fetch", "BASH_ENV=x bash -c ls", "IFS=x", "X=1 ls",
        "env PATH=/x ls", "env -S 'rm x'", "env -C / ls", "cd -", "cd", "cd ~", "cd -P /x", "cd a b", "env cd /x",
        "command cd /x", "printf -v x y", "printf $x", "test -v 'a[$(rm x)]'", "[ -v x ]", "[ -o x ]",
        "http_proxy=x", "path=/x", "prompt=x",
    ],
)  # fmt: skip
def test_what_changes_the_meaning_of_later_words_is_refused(text: str) -> None:
    """Builtins, assignments and options after which a name is another program or file."""
    assert refused(text)


@pytest.mark.requirement("H76")
@pytest.mark.parametrize(
    "text",
    [
        "sudo ls", "doas ls", "su -c ls", "xargs rm", "ls | xargs -I{} rm {}", "parallel rm", "watch rm x",
        "ssh h rm x", "scp a h:b", "find . -exec rm {} ;", "find . -execdir rm {} +", "find . -ok rm {} ;",
        "find . -fprint x", "find . -fls x", "find -files0-from x", "python3 x.py", "python -c 'x'", "perl -e x",
        "ruby x", "node x", "php x", "awk '{print}' x", "make", "npm test", "docker run x", "sh", "sh x", "bash -i",
        "bash -lc ls", "bash -c", "sh -c $X", 'sh -c "rm $X"', "zsh -c ls", "busybox rm x", "ls | sh",
        "cat x | bash", "bash <(cat x)", "bash <<< 'rm x'", "sh <<E\nrm x\nE", "nohup", "timeout 5", "nice -n",
        "time", "script x", "crontab x", "at now", "vim x", "less x", "man x", "tar xf x", "nc h 1",
        "wget https://example.com", "unknown x", "/opt/x", "./run.sh", "tee x | unknown", "strace ls", "flock x ls",
        "expect x", "screen x", "tmux x", "gdb x", "chroot / ls",
    ],
)  # fmt: skip
def test_a_program_that_runs_others_is_refused(text: str) -> None:
    """Unless what it runs stands there, in words that are read."""
    assert refused(text)


@pytest.mark.requirement("H77")
@pytest.mark.parametrize(
    "text",
    [
        "sed 's/a/b/w /etc/x' y", "sed 's/a/b/e' y", "sed '1e rm x' y", "sed 'w x' y", "sed 'r x' y", "sed -f x y",
        "sed -i.bak s/a/b/ y", "sed 's/a/b/;w x' y", "sed 's/[/]w x/e' y", "sed $'s/a/b/\\nw x' y",
        "sed 's/a/b/\nw x' y", "sort --compress-program=rm x", "sort -T /x y", "sort --files0-from=x",
        "wc --files0-from=x", "grep --file x y", "tail --pid 5 x", "diff --from-file=a b", "tree -o x", "file -f x",
        "jq -f x", "jq 'input_filename' x", "jq '$ENV' x", "jq 'import \"a\" as a; .' x", "date -s 2020",
        "date 0101", "date -f x", "curl -K x https://example.com/", "curl -L https://example.com/",
        "curl file:///etc/passwd", "curl example.com", "curl https://example.com/{a,b}",
        "curl 'https://example.com/[1-3]'", "curl https://a.example.com/ https://b.example.com/",
        "curl -T x https://example.com/", "curl -F a=@x https://example.com/", "curl -H @x https://example.com/",
        "curl -x p https://example.com/", "curl --data-binary @x https://example.com/",
        "curl https://user@example.com/", "curl -d@x https://example.com/a#b", "git -c core.pager=x log",
        "git -c alias.x='!rm x' x", "git --exec-path=x log", "git --git-dir=x log", "git log --output=x",
        "git log --outp=x", "git diff --no-index a b", "git diff --no-ind a b", "git diff /etc/passwd /etc/shadow",
        "git diff ../a b", "git grep -O x", "git grep --open-files-in-pager=rm x", "git grep --op=rm x",
        "git fetch --upload-pack=rm x", "git fetch ext::rm", "git push https://example.com/x", "git pull ../x",
        "git clone https://example.com/x", "git rebase -x rm x", "git bisect run rm", "git submodule foreach rm",
        "git filter-branch x", "git config alias.x x", "git difftool x", "git commit", "git commit -F x",
        "git commit -am x -F y", "git commit --file=x -m y", "git commit -S -m x", "git tag -F x y", "git add -e",
        "git archive -o x", "git x", "git -C a -C b log", "git diff --ext-diff", "git show --textconv x",
        "git worktree add x", "git remote add x y", "git", "ln -s ../x y", "ln x", "ln -s a b c", "cp -s a b",
        "cp --backup a b", "cp -l a b", "tee -", "xxd --unknown", "ls --unknown", "cat --help", "test x -nt y",
        "[ x", "chmod -x y", "rm --no-preserve-root -rf /",
    ],
)  # fmt: skip
def test_an_option_that_runs_a_program_or_names_a_file_is_refused(text: str) -> None:
    """In every spelling: attached, abbreviated, in a script of the program's own."""
    assert refused(text)


@pytest.mark.requirement("H78")
@pytest.mark.parametrize(
    "text",
    [
        "", " ", "# nothing", "ls &&", "| ls", "ls ||", "ls ;; ls", "; ls", "(ls", "ls)", "{ ls }", "{ ls;",
        "if true; then ls", "done", "ls 'open", 'ls "open', "ls `open", "ls $(open", "ls \\", "[[ a < b ]]",
        "[ a > b ]", "((x=1))", "$((x))", "echo $((a[$(rm x)]))", 'echo "${x:-$(rm x)}"', 'echo "${!x}"',
        "echo ${x/a/b}", "echo $[1]", "a=(1 2)", "a[0]=1", "a+=1", "case x in y) ls;; esac",
        "select x in a; do ls; done", "for ((;;)); do ls; done", "for x; do ls; done", "while ls; do rm x",
        "cat <<E\nnever", "cat <<E", "cat <<E\n$(rm x)\nE", "cat <<E\n`rm x`\nE", "cat <<E\n${x:-y}\nE",
        "cat <<E\na\\\nE\nE", "cat <<E\nx\n E\nE", "cat <<\\E\nx\nE", "cat <<'E'x\nx\nEx", "cat <<A <<B\nA\nB",
        "cat <<E 'a\nb'\nE", "$(cat <<E\nx\nE\n)", "ls 3<> x", "ls {fd}> x", "ls > /dev/tcp/h/1",
        "ls < /dev/udp/h/1", "ls <& x", "ls >>(rm x)", "ls\rrm x", "ls\x00rm x", "ls\x0brm x", "ls\x85rm x",
        "ls\u2028rm x", "ls \ud800", "ls @(a|b)", "ls !(a)", "ls +(a)", "!rm x", "\\!rm", "ls \"a\\\nb\"",
        "time -f x ls", "ls;" * 501, "(" * 21 + "ls" + ")" * 21, "sh -c 'sh -c \"sh -c ls\"'", "x" * 50_001,
        "echo `ls \\`rm x\\``", "rm &> x cat", "cd d &> x && rm y", "{ cd d; } &> x && rm y", "{fd}>x", "'' x",
        "- x", "%x", "=ls",
    ],
)  # fmt: skip
def test_a_text_that_shells_or_parsers_could_read_differently_is_refused(text: str) -> None:
    """Unfinished, nested, rare, or not shell at all."""
    assert refused(text)


def test_nothing_that_follows_a_trick_is_lost() -> None:
    """Each of these is a plain command to one reader and something else to a careless one."""
    assert "write file:///b/x" in touched("echo 'a' # ' \nrm x # '")
    assert "write file:///b/x" in touched('echo "#" ; rm x')
    assert "write file:///b/x" in touched("echo a#b ;rm x")
    assert "write file:///b/x" in touched("echo '\\'; rm x")
    assert "write file:///b/x" in touched('echo "\\\\"; rm x')
    assert "write file:///b/x" in touched("echo \\'; rm x; echo \\'")


STUBS = (
    "rm",
    "cat",
    "ls",
    "tee",
    "cp",
    "mv",
    "touch",
    "mkdir",
    "grep",
    "head",
    "wc",
    "git",
    "sort",
    "curl",
    "find",
    "sed",
)
PIECES = st.sampled_from(
    [
        "rm", "cat", "ls", "tee", "touch", "x", "y", "z", "-n", "'a b'", '"c d"', "a\\ b", "''", '"$x"', '"$(rm x)"',
        "`ls`", "#", "#c", "\\#", "x#y", "'\\'", '"\\""', "'#'", "!", "{", "}", "(", ")", ";", ";", ";", "&&", "||",
        "|", "&", "\n", "\n", "> o1", ">> o2", "2> o3", "< i1", "> o4 2>&1", ">| o5", "<<< w", "<<E\nb\nE\n",
        "<<'E'\n$(rm y)\nE\n", "<<-E\n\tb\n\tE\n", "cd d &&", "cd d ;", "if", "then", "else", "fi", "while", "do",
        "done", "for f in a b", "true", "false", "echo", "x=1", "test -f x", "[ -f x ]", "2>&1", ">&2",
        "sh -c 'rm x'", "time", "$(", "\"$(", ")\"", "<(ls)", "--", "$", "\\", "'", '"', "`", "set -e;", "break",
        "command", "env", "nice",
    ]
)  # fmt: skip


class Sandbox:
    """Directories in which every program is a stub that writes down its name.

    Each text has a directory and a log of its own, so that what it leaves in the background is not another's.
    """

    def __init__(self, root: Path, shell: str) -> None:
        self.shell, self.root = shell, root
        self.number = 0
        self.bin = root / "bin"
        self.bin.mkdir()
        for name in STUBS:
            stub = self.bin / name
            stub.write_text(f'#!/bin/sh\necho {name} >> "$REMIT_LOG"\n')
            stub.chmod(stub.stat().st_mode | stat.S_IEXEC)
        for name in ("sh", "nice", "env"):
            (self.bin / name).symlink_to(shutil.which(name) or "/bin/sh")

    def fresh(self) -> Path:
        """An empty directory but for `d`."""
        self.number += 1
        home = self.root / str(self.number)
        (home / "d").mkdir(parents=True)
        return home

    def run(self, text: str, home: Path) -> tuple[set[str], set[str]]:
        """The programs that ran, and the files that came into being."""
        log = home.with_suffix(".log")
        log.touch()
        nowhere = subprocess.DEVNULL
        subprocess.run(
            [self.shell, "-c", f"{text}\nwait"], cwd=home, timeout=10, check=False,
            env={"PATH": str(self.bin), "HOME": str(home), "REMIT_LOG": str(log)},
            stdin=nowhere, stdout=nowhere, stderr=nowhere,
        )  # fmt: skip
        made = {str(Path(folder) / name) for folder, _, names in os.walk(home) for name in names}
        return set(log.read_text().split()), made


@pytest.fixture(scope="module", params=[shell for shell in ("bash", "dash") if shutil.which(shell)])
def sandbox(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    return Sandbox(tmp_path_factory.mktemp("shell"), shutil.which(request.param) or "/bin/sh")


def judge(sandbox: Sandbox, text: str) -> bool:
    """Whether the text was read; it fails when the shell does more than was reported."""
    if "while" in text:  # which a shell may never leave
        return False
    home = sandbox.fresh()
    try:
        said = {str(access) for access in ShellReader(base=str(home)).accesses(text)}
    except NotCanonical:
        return False
    ran, made = sandbox.run(text, home)
    assert {f"run program://{name}" for name in ran} <= said, text
    assert {f"write file://{encode_path(path)}" for path in made} <= said, text
    return True


@pytest.mark.requirement("H79")
@settings(max_examples=250, deadline=None)
@given(
    pieces=st.lists(PIECES, min_size=1, max_size=9),
    glue=st.lists(st.sampled_from([" ", " ", ""]), min_size=9, max_size=9),
)
def test_no_generated_text_does_more_in_a_shell_than_was_reported(
    sandbox: Sandbox, pieces: list[str], glue: list[str]
) -> None:
    """Pieces of shell, put together at random, run where every program is a stub."""
    judge(sandbox, "".join(piece + glue[at] for at, piece in enumerate(pieces)))


def test_no_text_of_the_table_does_more_in_a_shell_than_was_reported(sandbox: Sandbox) -> None:
    """The table of expected accesses is right, as far as programs and redirections go."""
    texts = [text for text, expected in STRUCTURES if expected != ["!"] and "/a" not in text and "nohup" not in text]
    assert sum(judge(sandbox, text) for text in texts) > 20
