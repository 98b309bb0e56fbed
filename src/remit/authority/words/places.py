"""`under url email`: paths, URLs and mail addresses, read by the one strict grammar of `remit.resources`.

A value that is not canonical is refused, never rewritten: what is judged here is byte for byte what the tool gets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from remit.authority.literals import SELF, Slot, listing, show, to_json
from remit.authority.placeholders import sample_of
from remit.authority.refusal import Refusal
from remit.authority.words.base import TEXT, Check, Fault, Parse, Reader, Scope, Word
from remit.authority.words.values import expand
from remit.errors import NotCanonical
from remit.resources.emails import canonical_email, domain_of
from remit.resources.paths import canonical_path
from remit.resources.paths import under as path_is_under
from remit.resources.urls import DEFAULT_PORTS, canonical_host, parse_url

ANY: Final = "any"

Names = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Under:
    """`under`: this absolute path, or one below it, segment by segment."""

    root: str | Slot
    name: str = "under"
    kinds: frozenset[str] = TEXT

    def describe(self) -> str:
        return f"an absolute path at or below {self.root}, without . or .. parts"

    def to_json(self) -> Any:
        return self.root

    def compile(self, scope: Scope) -> Check:
        del scope
        root, expected = self.root, self.describe()
        assert isinstance(root, str)

        def check(value: Any) -> Fault | None:
            try:
                if type(value) is str and path_is_under(canonical_path(value), root):
                    return None
            except NotCanonical:
                pass
            return Fault((), value, expected)

        return check


@dataclass(frozen=True, slots=True)
class UrlIn:
    """`url`: scheme, host, port and path of a URL. Without `ports`, only the scheme's own port."""

    hosts: Names | None
    schemes: Names = ("https",)
    ports: Names | None = None
    under: str | None = None
    name: str = "url"
    kinds: frozenset[str] = TEXT

    def describe(self) -> str:
        where = "any host" if self.hosts is None else f"host {listing([str(host) for host in self.hosts])}"
        parts = [f"a canonical {'/'.join(map(str, self.schemes))} URL on {where}"]
        if self.ports is not None:
            parts.append(f"port {listing([str(port) for port in self.ports])}")
        if self.under is not None:
            parts.append(f"path at or below {self.under}")
        return ", ".join(parts)

    def to_json(self) -> Any:
        found: dict[str, Any] = {
            "hosts": ANY if self.hosts is None else list(self.hosts),
            "schemes": list(self.schemes),
        }
        if self.ports is not None:
            found["ports"] = list(self.ports)
        if self.under is not None:
            found["under"] = self.under
        return found

    def compile(self, scope: Scope) -> Check:
        del scope
        expected = self.describe()
        hosts = None if self.hosts is None else frozenset(self.hosts)
        schemes, ports = self.schemes, self.ports
        below = None if self.under is None else self.under.rstrip("/")

        def check(value: Any) -> Fault | None:
            try:
                url = parse_url(value, schemes=schemes) if type(value) is str else None
            except NotCanonical:
                url = None
            if url is None or (hosts is not None and url.host not in hosts):
                return Fault((), value, expected)
            if url.port != DEFAULT_PORTS.get(url.scheme) if ports is None else url.port not in ports:
                return Fault((), value, expected)
            if below is not None and url.path != below and not url.path.startswith(f"{below}/"):
                return Fault((), value, expected)
            return None

        return check


@dataclass(frozen=True, slots=True)
class EmailIn:
    """`email`: one bare address, in one of the domains or one of the addresses listed; `domains: any` is every one."""

    domains: Names | None
    addresses: Names = ()
    name: str = "email"
    kinds: frozenset[str] = TEXT

    def describe(self) -> str:
        if self.domains is None:
            return "any one bare e-mail address"
        allowed = [f"@{domain}" for domain in self.domains]
        allowed += ["the principal's own addresses" if address is SELF else str(address) for address in self.addresses]
        return f"one bare e-mail address: {listing(allowed)}"

    def to_json(self) -> Any:
        if self.domains is None:
            return {"domains": ANY}
        found: dict[str, Any] = {}
        if self.domains:
            found["domains"] = list(self.domains)
        if self.addresses:
            found["addresses"] = to_json(self.addresses)
        return found

    def compile(self, scope: Scope) -> Check:
        expected = self.describe()
        domains = None if self.domains is None else frozenset(self.domains)
        addresses = frozenset(expand(self.addresses, scope))

        def check(value: Any) -> Fault | None:
            if type(value) is str:
                if value in addresses:
                    return None
                try:
                    address = canonical_email(value)
                except NotCanonical:
                    return Fault((), value, expected)
                if domains is None or domain_of(address) in domains:
                    return None
            return Fault((), value, expected)

        return check


def check_email(text: str) -> str:
    """One bare address with a lower-case domain, or `Refusal`."""
    try:
        return canonical_email(text)
    except NotCanonical as error:
        raise Refusal(f"{show(text)} is not one bare e-mail address: {error}") from None


def check_domain(text: str) -> str:
    """A lower-case domain name, or `Refusal`."""
    try:
        check_email(f"x@{text}")
    except Refusal:
        raise Refusal(f"{show(text)} is not a domain, expected one such as acme.com, in lower case") from None
    return text


def check_host(text: str) -> str:
    """A lower-case host name, or `Refusal`; there are no wildcards."""
    try:
        return canonical_host(text)
    except NotCanonical as error:
        raise Refusal(f"{show(text)} is not a host, expected one such as api.acme.com: {error}") from None


def _under(node: Any, reader: Reader) -> Word:
    root = reader.text(node)
    if isinstance(root, Slot):
        return Under(root)
    try:
        canonical_path(sample_of(root))
    except NotCanonical as error:
        raise Refusal(f"under needs an absolute, canonical path: {error}") from None
    return Under(root)


def _names(node: Any, reader: Reader, key: str, check: Callable[[str], str]) -> Names:
    names = reader.literals(node, key)
    for index, name in enumerate(names):
        if isinstance(name, Slot):
            if not name.kinds <= TEXT:
                raise Refusal(f"{name!r} must be a string here", key, index)
        elif name is not SELF:
            if not isinstance(name, str):
                raise Refusal(f"got {show(name)}, expected a string", key, index)
            try:
                check(name)
            except Refusal as refusal:
                raise refusal.below(key, index) from None
        elif key != "addresses":
            raise Refusal("self stands for whole addresses, not for a part of one", key, index)
    return names


def _url(node: Any, reader: Reader) -> Word:
    bounds = reader.mapping(node, frozenset({"hosts", "schemes", "ports", "under"}))
    if "hosts" not in bounds:
        raise Refusal("url needs hosts: a list such as [api.acme.com], or `hosts: any` to allow every host")
    hosts = None if bounds["hosts"] == ANY else _names(bounds["hosts"], reader, "hosts", check_host)
    schemes: Names = ("https",)
    if "schemes" in bounds:
        schemes = reader.literals(bounds["schemes"], "schemes")
        for index, scheme in enumerate(schemes):
            if scheme not in DEFAULT_PORTS:
                raise Refusal(
                    f"{show(scheme)} is not a scheme known here: {listing(sorted(DEFAULT_PORTS))}", "schemes", index
                )
    ports: Names | None = None
    if "ports" in bounds:
        ports = reader.literals(bounds["ports"], "ports")
        for index, port in enumerate(ports):
            if type(port) is not int or not 0 < port < 65536:
                raise Refusal(f"{show(port)} is not a port, expected a number from 1 to 65535", "ports", index)
    return UrlIn(hosts, schemes, ports, _url_path(bounds, reader))


def _url_path(bounds: Any, reader: Reader) -> str | None:
    if "under" not in bounds:
        return None
    path = reader.text(bounds["under"], "under")
    if isinstance(path, Slot):
        raise Refusal("a parameter is one segment of a path here: write under: /projects/${name}", "under")
    try:
        sample = sample_of(path)
        if parse_url(f"https://example.com{sample}", schemes=("https",)).path == sample:
            return path
        problem = "it is not a path alone"
    except NotCanonical as error:
        problem = str(error)
    raise Refusal(f"{show(path)} is not the path of a URL, expected one such as /v1: {problem}", "under")


def _email(node: Any, reader: Reader) -> Word:
    if node == ANY:
        return EmailIn(None)
    if node == "self" or node is SELF:
        return EmailIn((), reader.literals("self", "addresses"))
    if isinstance(node, str | list | Slot):
        raise Refusal(f"email takes {{domains: […], addresses: […]}}, self, or any; got {show(node)}")
    bounds = reader.mapping(node, frozenset({"domains", "addresses"}))
    if bounds.get("domains") == ANY:
        if "addresses" in bounds:
            raise Refusal("`domains: any` allows every address already; leave addresses out")
        return EmailIn(None)
    domains = _names(bounds["domains"], reader, "domains", check_domain) if "domains" in bounds else ()
    addresses = _names(bounds["addresses"], reader, "addresses", check_email) if "addresses" in bounds else ()
    return EmailIn(domains, addresses)


WORDS: Final[dict[str, Parse]] = {"under": _under, "url": _url, "email": _email}
