"""`remit fsck`: whether every read model still is what the records show.

```python
from remit.fsck import check

found = check(app.ledger)
for finding in found.findings:
    print(finding.sentence)
```
"""

from remit.fsck.checking import Checked, check, compare
from remit.fsck.findings import Finding, Untold
from remit.fsck.repairing import repair
from remit.fsck.tables import NOT_DERIVABLE

__all__ = ["NOT_DERIVABLE", "Checked", "Finding", "Untold", "check", "compare", "repair"]
