"""`python tee.py LOG COMMAND…`: runs COMMAND and writes down every byte that reaches its stdin."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Pass stdin on until it ends."""
    with subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE) as child, Path(sys.argv[1]).open("ab", 0) as log:
        assert child.stdin is not None
        for line in sys.stdin.buffer:
            log.write(line)
            child.stdin.write(line)
            child.stdin.flush()
        child.stdin.close()
        return child.wait()


if __name__ == "__main__":
    raise SystemExit(main())
