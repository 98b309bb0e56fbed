"""One private value of one record, shown to somebody with what proves it, and nothing of the values beside it.

```
{"record": ID, "index": N, "path": "/arguments/amount", "value": ENCODED, "salt": HEX}
HMAC-SHA-256(salt, JCS(value)) == the commitment at that path in the leaf
```

The leaf is what the log proves; the disclosure says what stands behind one commitment in it. A salt says nothing about
any other path. What was only committed to, a secret, is disclosed as what stands instead of it.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from remit.errors import Unrepresentable, UsageError, VerificationError
from remit.ledger.canonical import canonical
from remit.ledger.salting import commitment, names_of, pointer


@dataclass(frozen=True, slots=True)
class Disclosure:
    """A value with its salt. `value` is in the encoding of docs/ledger.md."""

    record: str
    index: int
    path: str
    value: Any
    salt: str

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return {
            "record": self.record,
            "index": self.index,
            "path": self.path,
            "value": self.value,
            "salt": self.salt,
        }

    @classmethod
    def from_json(cls, content: bytes | str | Mapping[str, Any]) -> Disclosure:
        """Read one. Raises `VerificationError` unless it has exactly the five keys with values of their kinds."""
        try:
            found = dict(content) if isinstance(content, Mapping) else json.loads(content)
        except ValueError as error:
            raise VerificationError(f"the disclosure is not JSON: {error}") from error
        if not isinstance(found, dict) or found.keys() != set(cls.__slots__):
            raise VerificationError(f"a disclosure has the keys {', '.join(cls.__slots__)}, and no others")
        made = cls(**found)
        if not isinstance(made.record, str) or not isinstance(made.path, str) or not isinstance(made.salt, str):
            raise VerificationError("record, path and salt of a disclosure are texts")
        if type(made.index) is not int or made.index < 0:
            raise VerificationError("the index of a disclosure is a whole number from 0")
        return made


def committed_at(leaf: Mapping[str, Any], path: str) -> str:
    """The commitment to a path in a leaf. Raises `UsageError` naming the paths that it commits to."""
    private = leaf.get("private", {})
    try:
        names = names_of(path)
    except ValueError as error:
        raise UsageError(str(error)) from error
    found: Any = private.get(names[0])
    if isinstance(found, dict):
        found = found.get("commitment") if len(names) == 1 else found.get("each", {}).get("/".join(names[1:]))
    if len(names) <= 2 and isinstance(found, str):
        return found
    known = [pointer(name) for name in private]
    known += [pointer(name, item) for name, said in private.items() for item in said.get("each", {})]
    raise UsageError(
        f"record {leaf.get('id')} commits to no {path}; it commits to {', '.join(sorted(known)) or 'nothing'}"
    )


def value_at(private: Mapping[str, Any], path: str) -> Any:
    """The encoded value at a path of a record's private values."""
    node: Any = private
    for name in names_of(path):
        node = node[name]
    return node


def check(disclosure: Disclosure, leaf: Mapping[str, Any]) -> None:
    """Raises `VerificationError` unless the leaf commits to exactly this value at this path."""
    if disclosure.record != leaf.get("id"):
        raise VerificationError(f"the disclosure is of record {disclosure.record}; the leaf is {leaf.get('id')}")
    try:
        committed = committed_at(leaf, disclosure.path)
        salt = bytes.fromhex(disclosure.salt)
        content = canonical(disclosure.value)
    except (UsageError, Unrepresentable, ValueError) as error:
        raise VerificationError(f"the disclosure cannot be checked: {error}", index=disclosure.index) from error
    if len(salt) != 32 or disclosure.salt != salt.hex():
        raise VerificationError("a salt is 32 bytes in lower-case hex", index=disclosure.index)
    if not hmac.compare_digest(commitment(salt, content), committed):
        raise VerificationError(
            f"{disclosure.path} of record {disclosure.index} is not what the leaf commits to", index=disclosure.index
        )


__all__ = ["Disclosure", "check", "committed_at", "value_at"]
