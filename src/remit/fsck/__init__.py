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

__all__ = ["Checked", "Finding", "Untold", "check", "compare", "repair"]
