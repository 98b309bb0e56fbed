"""Random constraints, resources and grants in pairs, and values to try them with. The same seed gives the same pairs.

The vocabulary is small, so that pairs have something to do with each other. Half of the children are their parents
with something changed: those are the ones that a wrong rule would let through.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

TEXTS = [
    "a",
    "b",
    "ab",
    "bill-1.txt",
    "bill-2.txt",
    "/srv/acme",
    "bob@acme.com",
    "2",
    "true",
    "caf\u00e9",
    "any",
    "self",
]
NUMBERS = [0, 1, 2, 3, 5, 10, 0.5, 2.0, 2.5, 3.0, -1, 1e23, 10**23, 2**53 + 1, float(2**53)]
PATHS = ["/", "/srv", "/srv/acme", "/srv/acme/x", "/srv/acme2", "/etc"]
HOSTS = ["api.acme.com", "acme.com", "evil.com"]
DOMAINS = ["acme.com", "evil.com", "mail.acme.com"]
ADDRESSES = ["bob@acme.com", "alice@acme.com", "eve@evil.com"]
GLOBS = ["*", "a*", "*b", "a*b", "bill-*.txt", "bill-*", "*.txt", "a", "b*b", "*a*", "**", "*@acme.com", "/srv/*"]
REGEXES = ["a|ab", "[a-z]+", "[0-9]+", "bill-[0-9]\\.txt", ".*", "(?i)ab"]
TASK = "Pay order 2 of bob@acme.com, 'bill-1.txt', at 2.5 and mail a and ab"
CHILD_TASKS = [TASK, "Pay 2 to bob@acme.com", "mail a", "read caf\u00e9 5"]
BINDINGS = {"change": "ab", "count": 2, "rate": 2.0}
PARAMETERS = {"order": 2, "name": "bob@acme.com"}
OWN = ["alice@acme.com", "bob@acme.com"]
TYPES = ["string", "integer", "number", "boolean", "array", "object"]
SELECTORS: list[dict[str, Any]] = [
    {"tool": "crm.read"},
    {"tool": "crm.read", "at": "/id"},
    {"tool": ["crm.read", "mail.read"], "at": "/to/*"},
    {"tool": "mail.read", "at": "/x/*/id", "where": {"kind": "a"}},
]
KEYS = ["a", "b", "id"]

VALUES: list[Any] = [
    None, True, False, 0, 1, 2, 3, 4, 5, 10, -1, 0.0, -0.0, 0.5, 1.0, 2.0, 2.5, 3.0, 1e23, 10**23, int(1e23), 2**53,
    2**53 + 1, float(2**53), Decimal(2), Decimal("2.0"), Decimal("2.5"), Decimal("0.5"), Decimal(10) ** 23, Decimal(5),
    "", *TEXTS, "A", "AB", "abb", "aab", "bb", "aXb", "cafe\u0301", "bill-.txt", "bill-1.txt\n", "bill-x", "x.txt", "0",
    *PATHS, "/srv/acme/../x", "/srv/acme/x/y", "srv", *ADDRESSES, "Bob@acme.com", "bob@ACME.com", "x@mail.acme.com",
    "x@acme.com", "https://api.acme.com/", "https://api.acme.com/v1", "https://api.acme.com/v1/x?q=1",
    "https://api.acme.com/v2", "http://api.acme.com/v1", "https://api.acme.com:8443/v1", "https://acme.com/v1",
    "https://evil.com/", "http://evil.com:8443/", "http://acme.com:443/", "https://acme.com:80/v1", "https://acme.com",
    [], [1], [2], [2.0], ["a"], ["a", "b"], ["ab"], [True], [None], [[]], ["bob@acme.com"], ["a", 2], [2, 2.0],
    ["cafe\u0301"], [Decimal(2)], [1, 2, 3], ["a", "b", "ab", "bill-1.txt"], ["alice@acme.com", "bob@acme.com"],
    {}, {"a": 1}, {"a": 2}, {"a": 2.0}, {"b": "a"}, {"a": 1, "b": "a"}, {"id": "ab"}, {"a": None}, {"a": []},
    {"a": 2, "b": 2, "id": 2}, {"c": 1}, {"a": {"a": 1}},
]  # fmt: skip


class Maker:
    """Makes nodes as a grant's author would write them."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self._words: list[tuple[str, Callable[[int], Any]]] = [
            ("eq", lambda _: self.literal(2)),
            ("one_of", lambda _: self.either(self.scalars(), self.source())),
            ("not_one_of", lambda _: self.scalars()),
            ("min", lambda _: self.pick(NUMBERS)),
            ("max", lambda _: self.pick(NUMBERS)),
            ("above", lambda _: self.pick(NUMBERS)),
            ("below", lambda _: self.pick(NUMBERS)),
            ("like", lambda _: self.pick(GLOBS)),
            ("matches", lambda _: self.pick(REGEXES)),
            ("max_len", lambda _: self.chance.randint(0, 5)),
            ("under", lambda _: self.pick(PATHS)),
            ("url", lambda _: self.url()),
            ("email", lambda _: self.email()),
            ("subset", lambda _: self.either(self.scalars(), self.source())),
            ("contains", lambda _: self.scalars()),
            ("each", self.constraint),
            ("keys", lambda depth: {key: self.optional(self.constraint(depth)) for key in self.some(KEYS)}),
            ("type", lambda _: self.pick(TYPES)),
            ("all_of", lambda depth: [self.constraint(depth) for _ in range(self.chance.randint(1, 2))]),
            ("any_of", lambda depth: [self.constraint(depth) for _ in range(self.chance.randint(1, 3))]),
            ("from", lambda _: self.source()["from"]),
            ("absent", lambda _: True),
            ("any", lambda _: True),
            ("self", lambda _: True),
        ]

    def pick(self, values: list[Any]) -> Any:
        """One of them."""
        return self.chance.choice(values)

    def some(self, values: list[Any]) -> list[Any]:
        """One to three of them, all different."""
        return self.chance.sample(values, self.chance.randint(1, min(3, len(values))))

    def either(self, usual: Any, rare: Any) -> Any:
        """The first, three times in four."""
        return usual if self.chance.random() < 0.75 else rare

    def literal(self, depth: int) -> Any:
        """A value that a grant can name."""
        roll = self.chance.random()
        if depth and roll < 0.1:
            return [self.literal(depth - 1) for _ in range(self.chance.randint(0, 2))]
        if depth and roll < 0.2:
            return {key: self.literal(depth - 1) for key in self.some(KEYS)}
        return self.pick(TEXTS) if roll < 0.6 else self.pick(NUMBERS) if roll < 0.9 else self.pick([True, False])

    def scalars(self) -> list[Any]:
        """A list of single values, in which `self` may stand."""
        return [self.pick([*TEXTS, *NUMBERS, True]) for _ in range(self.chance.randint(1, 4))]

    def source(self) -> dict[str, Any]:
        """Something to trust for a value."""
        return {
            "from": self.pick(
                [
                    {"task": True},
                    *({"binding": name} for name in BINDINGS),
                    *({"parameter": name} for name in PARAMETERS),
                    *SELECTORS,
                ]
            )
        }

    def url(self) -> dict[str, Any]:
        """A bound on URLs."""
        found: dict[str, Any] = {"hosts": self.either(self.some(HOSTS), "any")}
        if self.chance.random() < 0.5:
            found["schemes"] = self.some(["https", "http"])
        if self.chance.random() < 0.4:
            found["ports"] = self.some([443, 80, 8443])
        if self.chance.random() < 0.4:
            found["under"] = self.pick(["/v1", "/", "/v1/x", "/v"])
        return found

    def email(self) -> Any:
        """A bound on addresses."""
        roll = self.chance.random()
        if roll < 0.15:
            return self.pick(["any", "self"])
        found: dict[str, Any] = {}
        if roll < 0.7:
            found["domains"] = self.some(DOMAINS)
        if roll > 0.5:
            found["addresses"] = self.some([*ADDRESSES, "self"])
        return found

    def constraint(self, depth: int = 2) -> Any:
        """One constraint; many make no sense, and are refused when they are read."""
        count = self.pick([1, 1, 1, 2, 2, 3])
        words = (
            self._words if depth else [one for one in self._words if one[0] not in ("each", "keys", "all_of", "any_of")]
        )
        roll = self.chance.random()
        if roll < 0.08:
            return self.literal(1)
        if roll < 0.12:
            return self.pick(["any", "self", ["a", "b"], [2, 2.5, "a"]])
        if roll < 0.15:
            return self.pick([{"type": "string", "max_len": self.pick([3, 5])}, {"not_one_of": [self.pick(TEXTS)]}])
        if roll < 0.2:
            low = self.chance.randint(-1, 3)
            return {"type": self.pick(["integer", "number"]), "min": low, "max": low + self.chance.randint(0, 4)}
        return {name: make(depth - 1) for name, make in self.chance.sample(words, count)}

    def optional(self, node: Any) -> Any:
        """Now and then something that may be left out."""
        return {**node, "optional": True} if isinstance(node, dict) and self.chance.random() < 0.3 else node

    def changed(self, node: Any) -> Any:
        """The same node, with something in it otherwise: tighter or wider, nobody knows."""
        roll = self.chance.random()
        if not isinstance(node, dict) or roll < 0.1:
            return self.pick([node, node, self.constraint(1), {"any_of": [node, self.constraint(0)]}])
        if roll < 0.2:
            return {"all_of": [node, self.constraint(1)]}
        if roll < 0.3:
            return {"any_of": [self.changed(node), self.changed(node)]}
        if roll < 0.4:
            more = dict([self._one_word(1)])
            return {**more, **node} if roll < 0.35 else {**node, **more}
        name = self.pick(list(node))
        if roll < 0.5 and len(node) > 1:
            return {key: value for key, value in node.items() if key != name}
        return {**node, name: self._changed_bound(name, node[name])}

    def _one_word(self, depth: int) -> tuple[str, Any]:
        name, make = self.pick(self._words)
        return name, make(depth)

    def _changed_bound(self, name: str, bound: Any) -> Any:
        if name in ("each",):
            return self.changed(bound)
        if name in ("all_of", "any_of") and isinstance(bound, list):
            place = self.chance.randrange(len(bound))
            inner = [self.changed(one) if index == place else one for index, one in enumerate(bound)]
            return inner[: self.chance.randint(1, len(inner))]
        if name == "keys":
            key = self.pick(list(bound))
            return {**bound, key: self.optional(self.changed(bound[key]))}
        if isinstance(bound, list) and len(bound) > 1 and self.chance.random() < 0.6:
            return bound[:-1]
        if isinstance(bound, bool | str | dict) or not isinstance(bound, int | float):
            made = next((make for word, make in self._words if word == name), None)
            return bound if made is None else made(1)
        return self.pick([bound, bound + 1, bound - 1, float(bound), int(bound)])


def resources(chance: random.Random) -> str:
    """One resource pattern over a small vocabulary."""
    action = chance.choice(["read", "read", "write"])
    kind = chance.choice(["crm", "file", "https", "mailto"])
    if kind == "mailto":
        return f"{action} mailto:{chance.choice(['*', 'bob', 'eve'])}@{chance.choice(['*', 'acme.com', 'evil.com'])}"
    parts = [chance.choice(["a", "b", "*", "*", "c"]) for _ in range(chance.randint(0, 3))]
    if chance.random() < 0.5:
        parts.insert(chance.randint(0, len(parts)), "**")
    if kind == "file":
        return f"{action} file:///{'/'.join(parts)}"
    if kind == "https":
        host = chance.choice(["acme.com", "*", "acme.com:8443"])
        tail = "".join(f"/{part}" for part in parts) + chance.choice(["", "", "/"])
        return f"{action} https://{host}{tail}{chance.choice(['', '', '?*', '?q=1'])}"
    return f"{action} crm://{'/'.join(parts or ['a'])}"


def uris(chance: random.Random) -> list[str]:
    """URIs that such patterns may match."""
    found = ["mailto:bob@acme.com", "mailto:eve@evil.com", "mailto:x@acme.com", "file:///", "file://", "crm://a"]
    for _ in range(60):
        path = "/".join(chance.choice(["a", "b", "c", "x", ""]) for _ in range(chance.randint(0, 4)))
        found += [f"crm://{path}", f"file:///{path}"]
        host = chance.choice(["acme.com", "acme.com:8443", "evil.com"])
        found.append(f"https://{host}/{path}{chance.choice(['', '?q=1', '?', '?q=2'])}")
    return found
