"""Tokens: what others sign, verified; what we sign, for others. Needs `pip install 'remit[tokens]'`.

```python
from remit.tokens import TokenEndpoint, TokenVerifier

who = TokenVerifier("https://login.acme.com", "https://agents.acme.com", "https://login.acme.com/jwks.json")
```
"""

from __future__ import annotations

from remit.errors import UsageError

try:
    from remit.tokens.endpoint import TokenEndpoint
    from remit.tokens.jose import jwk_of
    from remit.tokens.keys import FixedKeys, Keys, RemoteKeys
    from remit.tokens.proof import prove
    from remit.tokens.verifying import Actor, TokenVerifier, VerifiedToken
except ImportError as error:
    if (error.name or "").split(".")[0] not in ("jwt", "httpx"):
        raise
    raise UsageError("tokens need PyJWT and httpx, which are not installed: pip install 'remit[tokens]'") from error

__all__ = [
    "Actor",
    "FixedKeys",
    "Keys",
    "RemoteKeys",
    "TokenEndpoint",
    "TokenVerifier",
    "VerifiedToken",
    "jwk_of",
    "prove",
]
