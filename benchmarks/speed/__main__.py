"""`python -m benchmarks.speed`: Remit beside a hand-written check, bare SQLite, Tenuo and Microsoft's toolkit.

The peers are installed once, each into an environment of its own below `$REMIT_BENCH_CACHE`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.speed import measure, report


def main() -> int:
    """Measure, print Markdown, and write the plain numbers where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a third of the rounds, to see that it runs")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the plain numbers to FILE ('-': print them only)"
    )
    options = parser.parse_args()
    found = measure.everything(
        measure.QUICK if options.quick else measure.FULL, lambda text: print(text, file=sys.stderr)
    )
    numbers = json.dumps(found, indent=1, ensure_ascii=False)
    if options.json is not None and str(options.json) != "-":
        options.json.write_text(numbers + "\n", "utf-8")
    print(numbers if str(options.json) == "-" else report.markdown(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
