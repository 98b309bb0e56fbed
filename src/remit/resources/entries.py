"""What the catalogue says of one tool: the accesses its calls make, and how its arguments and repeats are
treated.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from remit.errors import NotCanonical
from remit.resources.access import ACTION, Access
from remit.resources.kinds import KINDS
from remit.resources.paths import canonical_path
from remit.resources.slots import MAX_ACCESSES
from remit.resources.statements import SqlWords
from remit.resources.templates import Reading, Resolver, Template, parse_template
from remit.resources.text import kind_of, shown


class Problem(NamedTuple):
    """What is wrong with an entry: where below the entry, and a sentence."""

    path: tuple[str | int, ...]
    sentence: str


class EntryRefused(Exception):
    """Raised by `read_entry`; the catalogue turns it into a GrantError with lines."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems[0].sentence)
        self.problems = problems


class EntrySpec(BaseModel):
    """The words of one entry under `tools:`, as written."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_by_alias=True, validate_by_name=False)

    accesses: list[str] | None = Field(default=None, min_length=1, max_length=64)
    """`action uri-template` lines, `{query}` of kind sql or shell, `{method} {url}`; left out when the tool touches no
    resource that has a name."""
    kinds: dict[str, Literal["path", "url", "email", "sql", "shell"]] = {}
    """How an argument (or `argument.field`) is read; without a kind it is one segment."""
    actions: dict[str, dict[str, str]] = {}
    """Of an argument that says what is done, the action word for each value: `{method: {GET: read, POST: send}}`."""
    base: str | None = None
    """The absolute directory that relative paths and shell commands start from; of SQL, the URI of the database."""
    dialect: Literal["postgres", "sqlite", "mysql", "tsql"] | None = None
    """Of SQL: whose it is."""
    default_schema: str | None = Field(default=None, alias="schema")
    """Of SQL: where tables without a schema are looked for; `public`, `main` and `dbo` when left out."""
    case: Literal["sensitive", "insensitive"] | None = None
    """Of SQL for MySQL and SQL Server: how the server compares names."""
    functions: Literal["any"] | None = None
    """Of SQL: `any` lets functions be called that are on no list, as reads; the database's own can write."""
    programs: list[str] | Literal["any"] | None = None
    """Of shell commands: programs that may be run whatever their arguments; `any` for all that are on no list."""
    symlinks: Literal["follow"] | None = None
    """`follow`: gate and tool share a file system, and a link's target is judged with the link."""
    read_only: bool = False
    idempotent: bool = False
    wait: Literal["durable", "sequenced", "witnessed"] = "durable"
    """How durable the record of a call has to be before the tool runs."""
    outcome_wait: Literal["durable", "queued"] = "durable"
    """Of a read-only tool: `queued` lets its caller go on before the outcome is durable."""
    secret: list[str] = []
    """Arguments that are never kept, only committed to."""
    redact: list[str] = []
    """Arguments that reviewers see masked."""
    opaque: list[str] = []
    """Arguments that evidence cannot hold and need not."""
    labels: list[str] = []
    """What a session has touched once this tool ran."""
    result: Literal["keep", "commit", "redact"] = "keep"
    """`commit`: of what the tool returns, the ledger keeps commitment and size only; `redact`: people see it masked."""
    on_text_change: Literal["deny", "finding"] = "deny"
    """When only words of the tool's definition changed: refuse its calls until a person accepts that, or record it."""


@dataclass(frozen=True, slots=True)
class ToolEntry:
    """One tool's entry, compiled. `covered` are the arguments that a clause's `resources` bounds whole."""

    key: str
    accesses: tuple[str, ...]
    read_only: bool
    idempotent: bool
    secret: frozenset[str]
    redact: frozenset[str]
    opaque: frozenset[str]
    labels: tuple[str, ...]
    covered: frozenset[str]
    arguments: frozenset[str]
    """Every argument that an access is made from, covered or not."""
    action_words: tuple[str, ...]
    result: Literal["keep", "commit", "redact"]
    on_text_change: Literal["deny", "finding"]
    wait: Literal["durable", "sequenced", "witnessed"]
    outcome_wait: Literal["durable", "queued"]
    _resolve: Resolver = field(repr=False, compare=False)

    @property
    def yields_accesses(self) -> bool:
        """Whether calls of the tool touch resources that have names, so that a clause has to say which."""
        return bool(self.accesses)

    def resolve(self, arguments: Mapping[str, Any]) -> tuple[Access, ...]:
        """The accesses that a call with these arguments makes, without repeats, at most 1,000.

        Raises NotCanonical with a sentence that names the argument: when a value could be read in two ways,
        when one is missing, when no access comes out, and (code `too_large`) when there are too many.
        """
        return self._resolve(arguments)

    def describe(self) -> str:
        """One line for a person: `read crm://tickets/{id} (read-only, idempotent)`."""
        marks = [word for word, on in (("read-only", self.read_only), ("idempotent", self.idempotent)) if on]
        what = ", ".join(
            f"what {line} says" if line.startswith("{") and " " not in line else line for line in self.accesses
        )
        what = what or "no named resource"
        return f"{what} ({', '.join(marks)})" if marks else what


def read_entry(key: str, written: Any) -> tuple[ToolEntry, dict[str, Any]]:
    """Check and compile one entry. Returns it with its canonical words, defaults left out.

    Raises EntryRefused with every problem found.
    """
    try:
        spec = EntrySpec.model_validate(written)
    except ValidationError as error:
        raise EntryRefused(list(_problems(error, written))) from error
    problems: list[Problem] = []
    reading = Reading(
        spec.kinds,
        spec.base,
        spec.symlinks == "follow",
        spec.actions,
        SqlWords(spec.dialect, spec.default_schema, spec.case, spec.functions == "any"),
        spec.programs or (),
    )
    templates: list[Template] = []
    for index, line in enumerate(spec.accesses or ()):
        try:
            templates.append(parse_template(line, reading))
        except NotCanonical as error:
            problems.append(Problem(("accesses", index), f"the access {shown(line)} is refused: {error}"))
    if not problems:
        problems.extend(_contradictions(spec, templates))
    if problems:
        raise EntryRefused(problems)
    entry = ToolEntry(
        key=key,
        accesses=tuple(spec.accesses or ()),
        read_only=spec.read_only,
        idempotent=spec.idempotent,
        secret=frozenset(spec.secret),
        redact=frozenset(spec.redact),
        opaque=frozenset(spec.opaque),
        labels=tuple(spec.labels),
        covered=frozenset().union(*(template.covered for template in templates)),
        arguments=frozenset().union(*(template.arguments for template in templates)),
        on_text_change=spec.on_text_change,
        wait=spec.wait,
        outcome_wait=spec.outcome_wait,
        result=spec.result,
        action_words=tuple(dict.fromkeys(action for template in templates for action in template.actions)),
        _resolve=_together(templates),
    )
    return entry, spec.model_dump(exclude_defaults=True, by_alias=True)


def _together(templates: list[Template]) -> Resolver:
    if not templates:
        return lambda arguments: ()
    resolvers = tuple(template.resolve for template in templates)
    first = resolvers[0]

    def one(arguments: Mapping[str, Any]) -> tuple[Access, ...]:
        found = first(arguments)
        return found if len(found) == 1 else _checked(dict.fromkeys(found))

    def all_of(arguments: Mapping[str, Any]) -> tuple[Access, ...]:
        found: dict[Access, None] = {}
        for resolver in resolvers:
            found.update(dict.fromkeys(resolver(arguments)))
        return _checked(found)

    return one if len(resolvers) == 1 else all_of


def _checked(found: dict[Access, None]) -> tuple[Access, ...]:
    if not found:
        raise NotCanonical("the call names no resource: every argument that could name one is empty or absent")
    if len(found) > MAX_ACCESSES:
        raise NotCanonical(
            f"the call would touch {len(found)} resources, expected at most {MAX_ACCESSES}", code="too_large"
        )
    return tuple(found)


def _contradictions(spec: EntrySpec, templates: list[Template]) -> Iterator[Problem]:
    """What each word allows alone and the entry as a whole does not."""
    slots = [slot for template in templates for slot in template.slots]
    references = {slot.reference for slot in slots}
    for reference in spec.kinds:
        if reference not in references:
            yield Problem(
                ("kinds", reference), f"the kind of {reference} is given, but no access names {{{reference}}}"
            )
    for word, names in (("secret", spec.secret), ("redact", spec.redact), ("opaque", spec.opaque)):
        for index, name in enumerate(names):
            if any(slot.argument == name for slot in slots if slot.whole or word != "opaque"):
                yield Problem((word, index), f"{name} is {word} and also names a resource, which evidence shows")
    for index, name in enumerate(spec.redact):
        if name in spec.secret:
            yield Problem(("redact", index), f"{name} is secret and redact; a secret is never kept, so drop redact")
    yield from _of_statements(spec, references)
    if spec.outcome_wait == "queued" and not spec.read_only:
        yield Problem(
            ("outcome_wait",), "an outcome is queued, but the tool is not read_only: what it did has to be kept"
        )
    rooted = any(slot.rooted for slot in slots)
    kinds = set(spec.kinds.values())
    if spec.base is not None and "sql" not in kinds:
        if not rooted and "shell" not in kinds:
            yield Problem(("base",), "a base is given, but no access starts with a path, as file://{path} does")
        try:
            canonical_path(spec.base)
        except NotCanonical as error:
            yield Problem(("base",), f"the base is refused: {error}")
    if spec.symlinks is not None and not rooted:
        yield Problem(("symlinks",), "symlinks are followed, but no access starts with a path, as file://{path} does")


def _of_statements(spec: EntrySpec, references: set[str]) -> Iterator[Problem]:
    """Words that only SQL, shell commands or actions by argument have, where there is none of these."""
    kinds = set(spec.kinds.values())
    for word, value in (
        ("dialect", spec.dialect), ("schema", spec.default_schema), ("case", spec.case), ("functions", spec.functions),
    ):  # fmt: skip
        if value is not None and "sql" not in kinds:
            yield Problem((word,), f"{word} is given, but no argument is of kind sql")
    if spec.programs is not None and "shell" not in kinds:
        yield Problem(("programs",), "programs are given, but no argument is of kind shell")
    if spec.programs == []:
        yield Problem(("programs",), "programs is empty; expected names of programs, or no programs at all")
    for argument, words in spec.actions.items():
        if argument not in references or not any(line.startswith(f"{{{argument}}} ") for line in spec.accesses or ()):
            yield Problem(
                ("actions", argument), f"actions are given for {argument}, but no access starts with {{{argument}}}"
            )
        for value, action in words.items():
            if not ACTION.match(action):
                yield Problem(("actions", argument, value), f"{shown(action)} is not an action word, such as read")


def _problems(error: ValidationError, written: Any) -> Iterator[Problem]:
    for found in error.errors():
        path = tuple(found["loc"])
        if found["type"] == "extra_forbidden":
            yield Problem(path, _unknown_word(str(path[-1])))
        elif path[:1] == ("kinds",) and found["type"] == "literal_error":
            yield Problem(path, _unknown_kind(str(path[-1]), found["input"]))
        elif not path:
            yield Problem(path, f"an entry is {kind_of(written)}, expected a mapping such as {{accesses: […]}}")
        else:
            yield Problem(path, f"{'.'.join(map(str, path))}: {found['msg']}, got {kind_of(found['input'])}")


def _unknown_word(word: str) -> str:
    known = sorted(field.alias or name for name, field in EntrySpec.model_fields.items())
    near = difflib.get_close_matches(word, known, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"the word {word} is unknown; {hint}An entry has {', '.join(known)}"


def _unknown_kind(argument: str, got: Any) -> str:
    return f"the kind {got!r} of {argument} is unknown; the kinds are {', '.join(KINDS)}"
