"""Shell text as accesses: a table of commands with exactly what each one runs and touches."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.errors import NotCanonical
from remit.resources.shell import ShellReader

READER = ShellReader(base="/b")


def table(text: str) -> list[tuple[str, list[str]]]:
    """Lines `command ¦ access, access`; `\\n` in a command is a line end, `*x` is `run program://x`."""
    rows = []
    for line in text.strip().splitlines():
        command, accesses = line.split(" ¦ ")
        expected = [
            f"run program://{each[1:]}" if each.startswith("*") else each.replace("~", "file://")
            for each in (part.strip() for part in accesses.split(","))
        ]
        rows.append((command.replace("\\n", "\n"), sorted(expected)))
    return rows


def touched(text: str, reader: ShellReader = READER) -> list[str]:
    return sorted(str(access) for access in reader.accesses(text))


def refused(text: str, reader: ShellReader = READER) -> str:
    with pytest.raises(NotCanonical) as error:
        reader.accesses(text)
    return str(error.value)


COMMANDS = table(r"""
true ¦ *true
/bin/cat x ¦ run ~/bin/cat, read ~/b/x
cat a "b c" 'd'e f\ g ¦ *cat, read ~/b/a, read ~/b/b%20c, read ~/b/de, read ~/b/f%20g
cat -- -n ./x ./ y/ /etc/passwd ¦ *cat, read ~/b/-n, read ~/b/x, read ~/b, read ~/b/y, read ~/etc/passwd
cat - < x ¦ *cat, read ~/b/x
head -n 5 x; tail -5 y ¦ *head, read ~/b/x, *tail, read ~/b/y
ls ¦ *ls, read ~/b
ls -la /srv src ¦ *ls, read ~/srv, read ~/b/src
grep -rn needle src ¦ *grep, read ~/b/src
grep -e a -e b x ¦ *grep, read ~/b/x
grep -f patterns x ¦ *grep, read ~/b/patterns, read ~/b/x
grep -r needle ¦ *grep, read ~/b
sort -o out -k 2 in ¦ *sort, write ~/b/out, read ~/b/in
uniq in out ¦ *uniq, read ~/b/in, write ~/b/out
diff <(sort a) b ¦ *sort, read ~/b/a, *diff, read ~/b/b
jq -r '.a[0]' x.json ¦ *jq, read ~/b/x.json
rm -rf build /tmp/x ¦ *rm, write ~/b/build, write ~/tmp/x
mkdir -p a/b ¦ *mkdir, write ~/b/a/b
touch -r x y ¦ *touch, read ~/b/x, write ~/b/y
tee -a x y ¦ *tee, write ~/b/x, write ~/b/y
cp a b ¦ *cp, read ~/b/a, write ~/b/b, write ~/b/b/a
cp -T a b ¦ *cp, read ~/b/a, write ~/b/b
cp -r x/a y /d/ ¦ *cp, read ~/b/x/a, read ~/b/y, write ~/d, write ~/d/a, write ~/d/y
cp -t d a b ¦ *cp, write ~/b/d, read ~/b/a, read ~/b/b, write ~/b/d/a, write ~/b/d/b
mv a b ¦ *mv, read ~/b/a, write ~/b/a, write ~/b/b, write ~/b/b/a
ln -s /etc/passwd x ¦ *ln, read ~/etc/passwd, write ~/etc/passwd, write ~/b/x, write ~/b/x/passwd
chmod u+x run.sh ¦ *chmod, write ~/b/run.sh
find src /tmp -name '*.py' -type f ¦ *find, read ~/b/src, read ~/tmp
find . -newer x -delete ¦ *find, read ~/b/x, read ~/b, write ~/b
sed -n '1,20p' x ¦ *sed, read ~/b/x
sed -i -e 's/a[0-9]/c/g' x y ¦ *sed, read ~/b/x, write ~/b/x, read ~/b/y, write ~/b/y
test -f x ¦ *test, read ~/b/x
[ -d x -a -n y ] && [ "$1" = z ] ¦ *test, read ~/b/x
git status ¦ *git, read git:///b
git -C /srv/app log --oneline -5 ¦ *git, read git:///srv/app
git commit -am "fix: x" ¦ *git, read git:///b, write git:///b
git push origin main ¦ *git, read git:///b, write git:///b, send git:///b
curl -sS -o out.json https://example.com/a ¦ *curl, send https://example.com/a, write ~/b/out.json
curl -X POST -d @body.json 'https://example.com/a?b=c' ¦ *curl, send https://example.com/a?b=c, read ~/b/body.json
date +%s ¦ *date
printf '%s\n' "$HOME" ¦ *printf, read env://process/HOME
printenv PATH ¦ *printenv, read env://process/PATH
env ¦ *env, read env://process
""")
STRUCTURES = table(r"""
ls;rm x ¦ *ls, read ~/b, *rm, write ~/b/x
ls && rm x || touch y ¦ *ls, read ~/b, *rm, write ~/b/x, *touch, write ~/b/y
ls | tee x |& wc -l ¦ *ls, read ~/b, *tee, write ~/b/x, *wc
ls & rm x ¦ *ls, read ~/b, *rm, write ~/b/x
ls\nrm x # and done ¦ *ls, read ~/b, *rm, write ~/b/x
ls \\n -l ¦ *ls, read ~/b
(ls; rm x) > y ¦ *ls, read ~/b, *rm, write ~/b/x, write ~/b/y
{ ls; rm x; } 2> y ¦ *ls, read ~/b, *rm, write ~/b/x, write ~/b/y
! rm x ¦ *rm, write ~/b/x
if [ -f x ]; then rm x; elif true; then ls /a; else ls /c; fi ¦ *test, read ~/b/x, *rm, write ~/b/x, *true, *ls, read ~/a, read ~/c
while true; do rm x; break; done ¦ *true, *rm, write ~/b/x, *break
for f in a "b c"; do echo "$f"; done ¦ *echo
cat < in > out 2>> err ¦ *cat, read ~/b/in, write ~/b/out, write ~/b/err
ls > /dev/null 2>&1 ¦ *ls, read ~/b
ls &> all ¦ !
> x ¦ write ~/b/x
2>x < y cat z ¦ *cat, write ~/b/x, read ~/b/y, read ~/b/z
rm a > log /etc/passwd ¦ *rm, write ~/b/a, write ~/b/log, write ~/etc/passwd
cat <<EOF > x\nhello $USER\nEOF ¦ *cat, write ~/b/x, read env://process/USER
cat <<'EOF' | tee x\n$(rm y) `rm z`\nEOF ¦ *cat, *tee, write ~/b/x
cat <<-E && rm x\n	one\n	E ¦ *cat, *rm, write ~/b/x
cat <<E\nx\nE\nrm x ¦ *cat, *rm, write ~/b/x
cat <<< 'x' ¦ *cat
echo "$(rm x)" "`rm y`" ¦ *echo, *rm, write ~/b/x, write ~/b/y
echo "$(echo ")" "$(rm x)")" ¦ *echo, *rm, write ~/b/x
tee >(rm x) < y ¦ !
x=$(cat y) ¦ *cat, read ~/b/y
x=1; echo "$x" ¦ *echo
LANG=C sort x ¦ *sort, read ~/b/x
cd /a && rm x ¦ *rm, write ~/a/x
cd /a; rm x ¦ *rm, write ~/a/x, write ~/b/x
cd a && cd c && rm x ¦ *rm, write ~/b/a/c/x
cd /a || exit 1\nrm x ¦ *exit, *rm, write ~/a/x, write ~/b/x
! cd /a && rm x ¦ *rm, write ~/b/x
(cd /a && rm x); rm y ¦ *rm, write ~/a/x, write ~/b/y
cd /a | rm x ¦ *rm, write ~/b/x
cd /a & rm x ¦ *rm, write ~/b/x
if cd /a; then rm x; fi; rm y ¦ *rm, write ~/a/x, write ~/b/x, write ~/a/y, write ~/b/y
set -euo pipefail; rm x ¦ *set, *rm, write ~/b/x
sh -c 'rm x; cat y' z ¦ *sh, *rm, write ~/b/x, *cat, read ~/b/y
bash -ec "bash -c 'rm x'" ¦ *bash, *rm, write ~/b/x
timeout -k 5 10 nice -n 5 env LANG=C rm x ¦ *timeout, *nice, *env, *rm, write ~/b/x
time -p rm x ¦ *time, *rm, write ~/b/x
command -v rm ¦ *command
command rm x ¦ *command, *rm, write ~/b/x
nohup rm x & ¦ *nohup, *rm, write ~/b/x
""")  # noqa: E501


@pytest.mark.parametrize(("text", "expected"), COMMANDS)
def test_a_command_touches_what_its_arguments_name(text: str, expected: list[str]) -> None:
    """Program by program: options, operands, and which of them are files."""
    assert touched(text) == expected


@pytest.mark.parametrize(("text", "expected"), STRUCTURES)
def test_every_command_of_a_text_counts(text: str, expected: list[str]) -> None:
    """Lists, pipelines, branches, loops, substitutions, here-documents, shells within shells, directories."""
    if expected == ["!"]:
        assert refused(text)
    else:
        assert touched(text) == expected


def test_the_table_is_long_enough() -> None:
    """Together with the statements of SQL there are far more than 120."""
    assert len(COMMANDS) + len(STRUCTURES) >= 80


def test_without_a_base_only_absolute_paths_are_read() -> None:
    """Where a shell stands is not known when it lives on between calls, unless the text says it."""
    reader = ShellReader()
    assert touched("cat /etc/hosts", reader) == ["read file:///etc/hosts", "run program://cat"]
    assert touched("cd /srv/app && git status", reader) == ["read git:///srv/app", "run program://git"]
    for text in ("cat x", "ls", "git status", "cd x", "cd /srv; cat x"):
        assert "base:" in refused(text, reader)


def test_programs_that_the_operator_lists_run_whatever_their_arguments() -> None:
    """One access; redirections and substitutions around it are read all the same."""
    reader = ShellReader(base="/b", programs=["make", "python3", "run.sh"])
    assert touched("make -j $N > log", reader) == ["read env://process/N", "run program://make", "write file:///b/log"]
    assert touched("./run.sh $(rm x)", reader) == ["run file:///b/run.sh", "run program://rm", "write file:///b/x"]
    assert "programs: [pytest]" in refused("pytest", reader)
    assert touched("pytest -x", ShellReader(base="/b", programs="any")) == ["run program://pytest"]


def test_listing_a_program_that_runs_others_changes_nothing() -> None:
    """What eval, sudo or xargs would run is never known."""
    for programs in (["eval", "sudo", "xargs", "source"], "any"):
        reader = ShellReader(base="/b", programs=programs)
        for text in ("eval ls", "sudo ls", "xargs rm", ". ./x", "source x", "find . -exec rm {} +"):
            assert refused(text, reader)


SPACE = st.sampled_from([" ", "  ", "\t", " \\\n", "  \t"])
ENDS = st.sampled_from(["", " ", "\n", "  # comment; rm z", "\n# rm z\n", " ;"])


@pytest.mark.requirement("H72")
@settings(max_examples=200, deadline=None)
@given(
    row=st.sampled_from([row for row in COMMANDS if not set(row[0]) & set("'\"\\")]),
    spaces=st.lists(SPACE, min_size=1, max_size=5),
    start=st.sampled_from(["", " ", "\n", "# rm z\n"]),
    end=ENDS,
)
def test_white_space_and_comments_never_change_the_accesses(
    row: tuple[str, list[str]], spaces: list[str], start: str, end: str
) -> None:
    """Blanks, line ends, continued lines and comments around words mean nothing."""
    text, expected = row
    words = text.split(" ")
    again = "".join(word + spaces[at % len(spaces)] for at, word in enumerate(words[:-1])) + words[-1]
    assert touched(start + again + end) == expected
