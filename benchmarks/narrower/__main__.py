"""`python -m benchmarks.narrower`: pairs of child and parent, and every pair that was accepted wrongly.

Exit code 1 when there is one.
"""

from __future__ import annotations

import argparse
import sys
import time

from benchmarks.narrower.check import Tally, constraints, grants, patterns

from remit.authority.constraints import CONSTRAINT_WORDS


def main() -> int:
    """Run, print, and say whether all is well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--pairs", type=int, default=200_000, help="pairs of constraints; and a fortieth of whole grants"
    )
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    missing: set[str] = set()
    bad = 0
    for name, run, count in (
        ("constraints", constraints, given.pairs),
        ("resources", patterns, given.pairs // 4),
        ("grants", grants, given.pairs // 40),
    ):
        tally, began = Tally(), time.perf_counter()
        run(count, given.seed, tally)
        took = time.perf_counter() - began
        print(
            f"{name}: {tally.pairs:,} pairs, {tally.accepted:,} accepted, {tally.tried:,} trials, "
            f"{len(tally.counterexamples)} counterexamples, {took:.0f} s"
        )
        if run is constraints:
            missing = set(CONSTRAINT_WORDS) - {"optional"} - set(tally.words)
            shown = ", ".join(f"{word} {tally.accepted_words[word]:,}" for word in sorted(tally.words))
            print(f"accepted, by the words of the parent: {shown}")
        for sentence in tally.counterexamples[:20]:
            print(f"  {sentence}")
        bad += len(tally.counterexamples)
    if missing:
        print(f"words that no pair had: {', '.join(sorted(missing))}")
    return 1 if bad or missing else 0


if __name__ == "__main__":
    sys.exit(main())
