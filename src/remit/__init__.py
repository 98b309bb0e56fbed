"""Give an agent a remit. Prove that it stayed within it.

```python
import remit

app = remit.open("sqlite:///remit.db", development=True)
grant = app.issue("grants/triage.yaml", parameters={"ticket": 88}, credential="user:ravi@acme.com")
with app.session(grant) as session:
    session.call("crm.read_ticket", {"id": 88}, run=read_ticket)
```
"""

from remit.app import App
from remit.approvals import Approval
from remit.authority.calls import Decision
from remit.current import current_session
from remit.deploying import open  # noqa: A004 - `remit.open` reads as what it does
from remit.errors import (
    ApprovalRequired,
    DelegationWidened,
    Denied,
    EvidenceUnavailable,
    GrantError,
    IdentityError,
    NotCanonical,
    Remedy,
    RemitError,
    Unrepresentable,
    UsageError,
    VerificationError,
)
from remit.governing import govern, governed
from remit.identity import Credential, Identity
from remit.issuing import Grant
from remit.ledger import Ledger, Record
from remit.ledger.wrapping import KeyEncryption
from remit.privacy import Privacy
from remit.requesting import GrantRequest
from remit.resources.definitions import ToolDefinition
from remit.sessions import Session
from remit.texts import denial_text

__all__ = [
    "App",
    "Approval",
    "ApprovalRequired",
    "Credential",
    "Decision",
    "DelegationWidened",
    "Denied",
    "EvidenceUnavailable",
    "Grant",
    "GrantError",
    "GrantRequest",
    "Identity",
    "IdentityError",
    "KeyEncryption",
    "Ledger",
    "NotCanonical",
    "Privacy",
    "Record",
    "Remedy",
    "RemitError",
    "Session",
    "ToolDefinition",
    "Unrepresentable",
    "UsageError",
    "VerificationError",
    "current_session",
    "denial_text",
    "govern",
    "governed",
    "open",
]
