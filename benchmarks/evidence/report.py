"""The numbers as Markdown, each beside its bare limit, every aim met or not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def markdown(found: dict[str, Any]) -> str:
    """The whole report."""
    size = found["bytes"]
    parts = [
        "# What evidence costs\n\n"
        f"{found['cores']} cores; load {found['load']:.1f} before and {found['load_after']:.1f} after. Leaves of "
        f"{size['intent']:.0f} and {size['outcome']:.0f} bytes. Ratios are of batches that alternate; absolute numbers "
        "are of this machine under this load."
    ]
    for name, section in (("appending", _appending), ("postgresql", _postgresql), ("growing", _growing)):
        if name in found:
            parts.append(section(found[name]))
    if "verifying" in found:
        parts.append(_verifying(found["verifying"], found["sealed"]))
    return "\n\n".join(parts)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _aim(text: str, met: bool, number: str) -> str:
    return f"- Aim: {text}: **{'met' if met else 'not met'}**, {number}."


_APPENDED = {
    "bare": "bare group commit",
    "plain": "**records**, `Ledger.run` / `arun`",
    "sealed": "**records with arguments and results**, committed to and encrypted",
    "governed": "whole governed calls, `session.call` / `acall`",
}


def _appending(found: dict[str, Any]) -> str:
    rows = [
        [
            "threads" if case == "threads" else "tasks of one loop",
            text,
            f"{found[case][name]['rate']:.0f}",
            f"{found[case][name]['cpu']:.0f}",
            f"{found[case][name]['ratio']:.2f} ({found[case][name]['ratio_of_best']:.2f})",
        ]
        for case in ("threads", "tasks")
        for name, text in _APPENDED.items()
    ]
    aims = [
        _aim(f"32 {case} appending {what} ≥ 0.35 of the bare limit", one["ratio"] >= 0.35, f"{one['ratio']:.2f}")
        for case in ("threads", "tasks")
        for what, one in (("records", found[case]["plain"]), ("records with private values", found[case]["sealed"]))
    ]
    heads = ["32 callers", "", "records /s", "CPU µs a record", "÷ bare (best ÷ best)"]
    return "## Appending on SQLite\n\n" + _table(heads, rows) + "\n\n" + "\n".join(aims)


def _postgresql(found: dict[str, Any]) -> str:
    names = {
        "pgbench": "`pgbench`, prepared, 32 clients",
        "one_plain": "records, 32 threads of one process",
        "four_plain": "records, 4 processes of 8 threads",
        "one": "with arguments and results, 32 threads of one process",
        "four": "with arguments and results, 4 processes of 8 threads",
    }
    rows = [
        [text, f"{found[name]:.0f}", "1" if name == "pgbench" else f"{found[f'{name}_ratio']:.2f}"]
        for name, text in names.items()
    ]
    aims = [
        _aim(f"{text} ≥ 0.5 of `pgbench`", found[f"{name}_ratio"] >= 0.5, f"{found[f'{name}_ratio']:.2f}")
        for name, text in names.items()
        if name != "pgbench"
    ]
    return (
        f"## Appending on PostgreSQL {found['server']}\n\n"
        + _table(["", "records /s", "÷ `pgbench`"], rows)
        + "\n\n"
        + "\n".join(aims)
    )


def _growing(found: dict[str, Any]) -> str:
    rows = [
        [f"{found[name]:,}", f"{found[f'{name}_cpu']:.1f}", f"{found[f'{name}_wall']:.1f}"]
        for name in ("small", "large")
    ]
    ratio = found["ratio_cpu"]
    return (
        "## What one more record costs\n\n"
        + _table(["records in the ledger", "CPU µs a record", "µs by the clock"], rows)
        + "\n\n"
        + _aim(
            f"appending at {found['large']:,} records ≤ 1.1 of appending at {found['small']:,}",
            ratio <= 1.1,
            f"{ratio:.2f} in CPU ({found['ratio_of_minima']:.2f} between the best of each, "
            f"{found['ratio_wall']:.2f} by the clock)",
        )
    )


def _verifying(plain: dict[str, Any], sealed: dict[str, Any]) -> str:
    texts = {
        "bare_bodies": "bare hash loop, reading only the leaves",
        "bare_rows": "bare hash loop, reading the rows that verification compares",
        "structure": "SQLite's `integrity_check`, a part of what follows",
    }
    parts = []
    for title, found in (("", plain), (" with arguments and results, each opened with its key", sealed)):
        seconds, count = found["seconds"], found["records"]
        names = texts | {
            name: f"**`remit verify{'' if name == 'verify_1' else ' --jobs ' + name[7:]}`**"
            for name in seconds
            if name.startswith("verify_")
        }
        rows = [
            [
                text,
                f"{seconds[name]['wall']:.2f}",
                f"{count / seconds[name]['wall']:,.0f}",
                f"{seconds['bare_bodies']['wall'] / seconds[name]['wall']:.2f}",
                f"{seconds['bare_rows']['wall'] / seconds[name]['wall']:.2f}",
            ]
            for name, text in names.items()
        ]
        heads = ["", "seconds", "records /s", "÷ bare, leaves", "÷ bare, rows"]
        parts.append(f"### {count:,} records{title}, under {found['heads']:,} signed heads\n\n" + _table(heads, rows))
    seconds = plain["seconds"]
    bodies, rows_, verify = (seconds[name]["cpu"] for name in ("bare_bodies", "bare_rows", "verify_1"))
    own = verify - seconds["structure"]["cpu"]
    most = max(int(name[7:]) for name in seconds if name.startswith("verify_"))
    faster = seconds["verify_1"]["wall"] / seconds[f"verify_{most}"]["wall"]
    spare = most * seconds["at_once_1"]["wall"] / seconds[f"at_once_{most}"]["wall"]
    aims = [
        _aim(
            "verification on one core ≥ 0.7 of the bare hash loop (CPU)",
            bodies / verify >= 0.7,
            f"{bodies / verify:.2f} of the loop over leaves, {rows_ / verify:.2f} of the loop over rows; without "
            f"SQLite's own check of its file {bodies / own:.2f} and {rows_ / own:.2f}",
        ),
        _aim(
            f"`--jobs {most}` uses what {most} processes get here, to 0.7",
            faster >= 0.7 * spare,
            f"{faster:.2f} times as fast; processes that only hash, and share nothing, got {spare:.2f} times as far",
        ),
    ]
    return "## Verifying\n\n" + "\n\n".join(parts) + "\n\n" + "\n".join(aims)
