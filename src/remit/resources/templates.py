"""Access templates of a catalogue: `read crm://tickets/{id}` says what one call touches, given its arguments.

`{x}` is exactly one percent-encoded segment, whatever the value; one that others could turn into another number
of segments (with `/`, `..`, an escape, or nothing in it) is refused. `{x?}` may be absent, at the end of the URI
or as the whole of it. `{x*}` is a list, with one access for each item; `{x*?}` is both. `{x*.path}` reads a field
of each item. What a value means beyond that is its kind: `path`, `url` or `email` (`remit.resources.kinds`).

`{query}` alone is a text of kind `sql` or `shell`, from which actions and resources come
(`remit.resources.statements`). `{method} {url}` takes the action from an argument, by the entry's map `actions`.
`https://api.acme.com{path}`, of kind `url`, is a URL below a fixed host.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from remit.errors import NotCanonical
from remit.resources import kinds
from remit.resources.access import ACTION, Access
from remit.resources.slots import MAX_ACCESSES, SLOT, Slot, slot_of
from remit.resources.statements import STATEMENT_KINDS, SqlWords, Statements, shell_statements, sql_statements, text_of
from remit.resources.text import kind_of, shown
from remit.resources.uris import SCHEME, WEB_SCHEMES, recode_segment
from remit.resources.urls import parse_url, require_url_segment, split_authority

MAX_SLOTS: Final = 8

_LITERAL: Final = re.compile(r"[A-Za-z0-9._~@:-]*\Z")

Resolver = Callable[[Mapping[str, Any]], tuple[Access, ...]]


@dataclass(frozen=True, slots=True)
class Template:
    """One line of `accesses`, compiled. `covered` are the arguments whose whole value stands in the URI."""

    text: str
    actions: tuple[str, ...]
    slots: tuple[Slot, ...]
    resolve: Resolver

    @property
    def arguments(self) -> frozenset[str]:
        return frozenset(slot.argument for slot in self.slots)

    @property
    def covered(self) -> frozenset[str]:
        return frozenset(slot.argument for slot in self.slots if slot.whole and not slot.fields)


@dataclass(frozen=True, slots=True)
class Reading:
    """How the values of one catalogue entry are read: kinds by reference, and how paths are taken."""

    kinds: Mapping[str, str]
    base: str | None = None
    """The directory that paths start from or, where a kind is `sql`, the URI of the database."""
    follow: bool = False
    actions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """For an argument that says what is done: the action word for each of its values."""
    sql: SqlWords = field(default_factory=SqlWords)
    programs: Collection[str] | Literal["any"] = ()

    @property
    def directory(self) -> str | None:
        """The base of paths."""
        return None if "sql" in self.kinds.values() else self.base


def parse_template(text: str, reading: Reading) -> Template:
    """Compile `action uri-template`. Raises NotCanonical with what is wrong and what was expected."""
    alone = SLOT.fullmatch(text)
    if alone is not None:
        return _statement(text, replace(slot_of(alone), whole=False), reading)
    action, _, uri = text.partition(" ")
    said = SLOT.fullmatch(action)
    if not (said or ACTION.match(action)) or not uri or uri != uri.strip() or " " in uri:
        raise NotCanonical("expected an action word and a URI template, such as read crm://tickets/{id}")
    slots, resolve = _located(action if said is None else "use", uri, reading)
    if said is None:
        return Template(text, (action,), slots, resolve)
    return _by_argument(text, slot_of(said), Template(text, (), slots, resolve), reading)


def _located(action: str, uri: str, reading: Reading) -> tuple[tuple[Slot, ...], Resolver]:
    """The placeholders and the resolver of one URI template."""
    steps = _whole(uri, reading) or _steps(uri, reading)
    slots = tuple(step for step in steps if isinstance(step, Slot))
    if len(slots) > MAX_SLOTS:
        raise NotCanonical(f"it has {len(slots)} placeholders; expected at most {MAX_SLOTS}")
    if sum(slot.several for slot in slots) > 1:
        raise NotCanonical("two placeholders are lists; expected at most one {…*} in an access")
    return slots, _resolver(action, steps)


def _statement(text: str, slot: Slot, reading: Reading) -> Template:
    """`{query}`: every access comes out of the text of an argument."""
    kind = reading.kinds.get(slot.reference)
    if kind not in STATEMENT_KINDS:
        raise NotCanonical(
            f"{{{slot.reference}}} is the whole access; expected kinds: {{{slot.reference}: sql}} or shell, or an "
            "action word before it"
        )
    places: tuple[Slot, ...] = ()
    if kind == "shell":
        found = shell_statements(reading.programs, reading.directory)
    else:
        base: Resolver | None = None
        if reading.base is not None:
            places, base = _located("use", reading.base, replace(reading, kinds={}))
        found = sql_statements(reading.sql, base)

    def resolve(arguments: Mapping[str, Any]) -> tuple[Access, ...]:
        value = slot.value(arguments)
        return () if value is None else _read_all(found, slot, value, arguments)

    return Template(text, found.actions, (slot, *places), resolve)


def _read_all(found: Statements, slot: Slot, values: Sequence[Any], arguments: Mapping[str, Any]) -> tuple[Access, ...]:
    try:
        return tuple(access for each in values for access in found.read(arguments, text_of(each)))
    except NotCanonical as error:
        raise NotCanonical(f"the argument {slot.reference} is refused: {error}", code=error.code) from None


def _by_argument(text: str, slot: Slot, located: Template, reading: Reading) -> Template:
    """`{method} {url}`: an argument says what is done, in words that the entry translates."""
    words = reading.actions.get(slot.reference)
    if slot.several or slot.optional or slot.fields or not words:
        raise NotCanonical(
            f"{{{slot.reference}}} says what is done; expected it required, and actions: {{{slot.argument}: "
            "{GET: read, POST: send}} in the entry"
        )

    def resolve(arguments: Mapping[str, Any]) -> tuple[Access, ...]:
        value = arguments.get(slot.argument)
        action = words.get(value) if isinstance(value, str) else None
        if action is None:
            got = shown(value) if isinstance(value, str) else kind_of(value)
            raise NotCanonical(f"the argument {slot.argument} is {got}, expected one of {', '.join(words)}")
        return tuple(Access(action, access.uri) for access in located.resolve(arguments))

    return Template(text, tuple(dict.fromkeys(words.values())), (slot, *located.slots), resolve)


def _whole(uri: str, reading: Reading) -> list[str | Slot] | None:
    """The steps of a URI that is one placeholder, such as `{url}` or `mailto:{to*}`; None for any other."""
    below = _below_host(uri, reading)
    if below is not None:
        return [below]
    scheme, mail, rest = ("mailto:", True, uri[7:]) if uri.startswith("mailto:") else ("", False, uri)
    found = SLOT.fullmatch(rest)
    if found is None:
        if mail and "{" in rest:
            raise NotCanonical("mailto: is followed by more than one placeholder; expected mailto:{to} alone")
        return None
    slot = slot_of(found)
    kind = reading.kinds.get(slot.reference)
    wanted = "email" if mail else "url"
    if kind != wanted:
        raise NotCanonical(
            f"{{{slot.reference}}} is the whole of the URI; expected kinds: {{{slot.reference}: {wanted}}}, "
            "or a scheme before it"
        )
    return [replace(slot, before=scheme, convert=kinds.email if mail else kinds.url)]


def _below_host(uri: str, reading: Reading) -> Slot | None:
    """The placeholder of `https://api.acme.com{path}`, of kind url; None for any other URI."""
    prefix, brace, rest = uri.partition("{")
    found = SLOT.fullmatch(brace + rest)
    if found is None or not prefix.startswith(("https://", "http://")):
        return None
    slot = slot_of(found)
    if reading.kinds.get(slot.reference) != "url" or prefix.endswith("/"):
        return None
    parse_url(prefix, schemes=WEB_SCHEMES)
    return replace(slot, convert=kinds.url_below(prefix))


def _steps(uri: str, reading: Reading) -> list[str | Slot]:
    """The URI as literal texts and slots, in order; a literal is canonical, and never empty between slots."""
    scheme, _, rest = uri.partition(":")
    if scheme == "mailto":
        raise NotCanonical("an access to one fixed address is not supported; expected mailto:{to}")
    if not SCHEME.match(scheme) or not rest.startswith("//") or rest == "//":
        raise NotCanonical(f"{shown(uri)} is not a URI template; expected one such as crm://tickets/{{id}}")
    steps: list[str | Slot] = [f"{scheme}://"]
    segments = _split(rest[2:])
    for index, written in enumerate(segments):
        last = index == len(segments) - 1
        separator = "/" if index else ""
        step = _segment(written, scheme, first=index == 0, last=last, reading=reading)
        if isinstance(step, Slot):
            if index and isinstance(steps[-1], Slot) and steps[-1].optional and not step.optional:
                raise NotCanonical("a placeholder follows an optional one; expected optional ones at the end only")
            steps.append(replace(step, before=separator + step.before))
        else:
            if any(isinstance(each, Slot) and each.optional for each in steps):
                raise NotCanonical("text follows an optional placeholder; expected optional ones at the end only")
            steps.append(separator + step)
    return steps


def _split(rest: str) -> list[str]:
    if "?" in SLOT.sub("", rest) or "#" in rest:
        raise NotCanonical("an access names a resource and has no query or fragment; expected it without ? and #")
    segments = rest.split("/")
    if "" in segments:
        raise NotCanonical("it has an empty segment; expected single slashes and none at the end")
    return segments


def _segment(written: str, scheme: str, *, first: bool, last: bool, reading: Reading) -> str | Slot:
    found = list(SLOT.finditer(written))
    if not found:
        return _literal(written, scheme, host=first)
    if len(found) > 1:
        raise NotCanonical(
            f"{shown(written)} has two placeholders between slashes, so two calls could look alike; "
            "expected each in a segment of its own"
        )
    before, after = written[: found[0].start()], written[found[0].end() :]
    if not _LITERAL.match(before) or not _LITERAL.match(after):
        raise NotCanonical(f"{shown(written)} has text beside its placeholder outside A-Z a-z 0-9 . _ ~ @ : -")
    if first and scheme in WEB_SCHEMES:
        raise NotCanonical("the host of a web URL is a placeholder; expected kind url for all of it, or a fixed host")
    slot = slot_of(found[0])
    kind = reading.kinds.get(slot.reference)
    if kind in STATEMENT_KINDS:
        raise NotCanonical(
            f"{{{slot.reference}}} is {kind} text and says itself what is done; expected {{{slot.reference}}} alone"
        )
    if kind == "url":
        raise NotCanonical(f"{{{slot.reference}}} is a URL and has to be the whole of it; expected read {{url}}")
    if kind == "path":
        convert = _path(slot, reading, alone=not before and not after, first=first, last=last)
        return replace(slot, convert=convert, rooted=first)
    if scheme == "file" and first:
        raise NotCanonical(f"a file resource is a path; expected kinds: {{{slot.reference}: path}}")
    return replace(slot, before=before, after=after, convert=kinds.email if kind == "email" else kinds.segment)


def _path(slot: Slot, reading: Reading, *, alone: bool, first: bool, last: bool) -> kinds.Convert:
    if not alone:
        raise NotCanonical(f"text touches the path {{{slot.reference}}}; expected it alone between slashes")
    if first:
        if slot.optional and not last:
            raise NotCanonical(f"{{{slot.reference}?}} is optional, and more follows; expected it to be required")
        return kinds.path(base=reading.directory, follow=reading.follow, more=not last)
    if not last or not slot.several:
        raise NotCanonical(
            f"{{{slot.reference}}} is a path after other segments, so it has several; expected "
            f"{{{slot.argument}*}} at the end"
        )
    return kinds.tail


def _literal(written: str, scheme: str, *, host: bool) -> str:
    if "*" in written or "{" in written or "}" in written:
        raise NotCanonical(
            f"{shown(written)} is neither text nor a placeholder; expected {{name}}, {{name?}} or {{name*}}"
        )
    if scheme not in WEB_SCHEMES:
        return recode_segment(written)
    if host:
        split_authority(written, scheme)
        return written
    return require_url_segment(written)


def _resolver(action: str, steps: list[str | Slot]) -> Resolver:
    count = next((index for index, step in enumerate(steps) if isinstance(step, Slot)), len(steps))
    head = "".join(step for step in steps[:count] if isinstance(step, str))
    rest = tuple(steps[count:])
    if not rest:
        fixed = (Access(action, head),)
        return lambda arguments: fixed
    only = rest[0]
    if len(rest) == 1 and isinstance(only, Slot) and not (only.several or only.optional or only.fields):
        return _single(action, head, only)
    return _general(action, head, rest)


def _single(action: str, head: str, slot: Slot) -> Resolver:
    """The resolver of the common case, one required placeholder at the end."""
    argument, convert, before, after = slot.argument, slot.convert, head + slot.before, slot.after

    def resolve(arguments: Mapping[str, Any]) -> tuple[Access, ...]:
        try:
            texts = convert(arguments[argument])
        except (KeyError, NotCanonical):
            slot.texts(arguments)  # raises the same with the argument's name in the sentence
            raise
        if len(texts) == 1:
            return (Access(action, before + texts[0] + after),)
        return tuple(Access(action, before + text + after) for text in texts)

    return resolve


def _general(action: str, head: str, steps: tuple[str | Slot, ...]) -> Resolver:
    names_nothing = not head or head.endswith("://")

    def resolve(arguments: Mapping[str, Any]) -> tuple[Access, ...]:
        found = [head]
        absent: str | None = None
        for step in steps:
            if isinstance(step, str):
                found = [uri + step for uri in found]
                continue
            texts = step.texts(arguments)
            if texts is None:
                absent = step.reference
                continue
            if absent is not None:
                raise NotCanonical(f"the argument {step.reference} is given without {absent}, which precedes it")
            found = [uri + text for uri in found for text in texts]
            if len(found) > MAX_ACCESSES:
                raise NotCanonical(f"a call with {len(found)} accesses touches too much", code="too_large")
        if names_nothing and found == [head]:
            return ()
        return tuple(Access(action, uri) for uri in found)

    return resolve
