"""What is proved: records, the tree over them, signed heads, the writer that appends, and the verifier.

The ledger knows nothing of grants: it keeps, orders and proves what it is given.
"""

from remit.ledger.ledger import DEADLINE, Ledger
from remit.ledger.reading import Reader, Record
from remit.ledger.records import RECORD_TYPES, Draft
from remit.ledger.txn import Appended, Txn
from remit.ledger.values import Encoded
from remit.ledger.verify import Verified

__all__ = ["DEADLINE", "RECORD_TYPES", "Appended", "Draft", "Encoded", "Ledger", "Reader", "Record", "Txn", "Verified"]
