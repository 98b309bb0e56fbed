"""Numbers as Markdown: each beside its bare limit and its peers, with what each peer's record holds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

REMIT_RECORD = (
    "two records: an intent before the tool, an outcome after; every argument and the result (committed, encrypted), "
    "resources, grant, clause, counters, principal, agent; hash-chained, in a Merkle tree, head signed"
)

COSTS = (
    ("remit", "**Remit** `session.call`", REMIT_RECORD, "yes, twice"),
    ("remit_summed", "Remit, clause with a summed amount as well", "as above", "yes, twice"),
    ("bare", "bare SQLite: the same leaf bytes, two commits", "the bytes of Remit's leaves, unsigned", "yes, twice"),
    ("tenuo_off", "Tenuo `@guard`, receipts off", "none", "–"),
    (
        "tenuo_collect",
        "Tenuo `Runtime`, receipts collected",
        "one receipt before the tool: tool, hash of the request, warrant chain, previous receipt; signed, chained; "
        "no argument, no outcome",
        "no, in memory",
    ),
    ("tenuo_durable", "Tenuo, each receipt to `FileReceiptSink`", "as above, in a file", "yes, once"),
    ("agt_off", "AGT `govern()`, 10 rules, no audit", "none", "–"),
    (
        "agt_merkle",
        "AGT, 10 rules, Merkle log",
        "one entry before the tool: agent, action, decision, rule; Merkle tree, unsigned; no argument, no outcome",
        "no, in memory",
    ),
    ("agt_file", "AGT, 10 rules, Merkle log, `FileAuditSink`", "as above, with an HMAC, in a file", "no, not synced"),
)


def markdown(found: dict[str, Any]) -> str:
    """The whole report."""
    parts = [_head(found), _decisions(found), _costs(found), _throughput(found), _lag(found), _breakdown(found)]
    return "\n\n".join(parts) + "\n"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _head(found: dict[str, Any]) -> str:
    machine, versions, fsync = found["machine"], found["versions"], found["fsync_ms"]
    products = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        "# Speed\n\n"
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, SQLite {machine['sqlite']}; load "
        f"{machine['load_before']} before and {found['load_after']} after. {products}. One fsync of 1 KiB here: "
        f"p50 {fsync['p50']:.2f} ms, p99 {fsync['p99']:.2f} ms.\n\n"
        "**Absolute numbers are of this machine under this load.** What carries over are the ratios: the contestants "
        "run in turn (A B A B), in processes and environments of their own, so a burst of other load meets all of "
        "them. The call is one refund with four arguments that vary; the tool does nothing.\n\n"
        f"Remit's leaves hold {found['leaf_bytes']['intent']:.0f} + {found['leaf_bytes']['outcome']:.0f} bytes a call; "
        f"with payload, indexes and read models the database grows by {found['leaf_bytes']['stored']:.0f}. "
        f"The {found['verify']['size']} records that this run wrote verify, {found['verify']['rate']:.0f} a second."
    )


def _decisions(found: dict[str, Any]) -> str:
    names = {
        "remit": "**Remit** `match` + `settle`: two clauses, six bounds, resources, a limit",
        "bare": "the same check by hand, for this one tool",
        "tenuo": "Tenuo `@guard`: four constraints; signs and verifies a proof of possession on each call, as Remit "
        "does not",
        "agt": "AGT `govern()`: ten rules; of the arguments, amount and currency are checked",
    }
    numbers = found["decision_us"]
    rows = [
        [
            text,
            *(f"{numbers[key][at]:.1f}" for at in ("p05", "p50", "p99")),
            f"{numbers[key]['p50'] / numbers['remit']['p50']:.2f}",
        ]
        for key, text in names.items()
    ]
    return (
        "## A decision alone, µs\n\n"
        + _table(["", "p05", "p50", "p99", "p50 ÷ Remit's"], rows)
        + "\n\n"
        + _aim("decision p50 ≤ 10 µs", numbers["remit"]["p50"] <= 10, f"{numbers['remit']['p50']:.1f} µs")
    )


def _costs(found: dict[str, Any]) -> str:
    costs = found["cost_us"]
    rows = []
    for key, text, record, durable in COSTS:
        cost = costs[key]
        ratio = "1" if key == "remit" else f"{cost['remit_over_it']:.2f}"
        rows.append(
            [
                text,
                f"{cost['cpu_min']:.0f}",
                f"{cost['cpu_median']:.0f}",
                f"{cost['wall_min']:.0f}",
                ratio,
                record,
                durable,
            ]
        )
    own = costs["remit"]
    aims = [
        _aim(
            f"CPU per call ≤ Tenuo with receipts, {how}",
            own["cpu_min"] <= costs[key]["cpu_min"],
            f"{own['cpu_min']:.0f} against {costs[key]['cpu_min']:.0f} µs (minima), "
            f"{own['cpu_median']:.0f} against {costs[key]['cpu_median']:.0f} (medians)",
        )
        for key, how in (("tenuo_durable", "both durable"), ("tenuo_collect", "Tenuo's only in memory"))
    ]
    return (
        "## One caller: CPU and time per governed call, µs\n\n"
        "CPU of the whole process, writer thread and kernel included; minima and medians of batches. Of Remit's CPU, "
        f"{costs['bare']['cpu_min']:.0f} µs are the two durable commits that nobody can do without (row three).\n\n"
        + _table(
            ["", "CPU min", "CPU median", "wall min", "Remit's CPU ÷ its", "what its record contains", "fsynced"],
            rows,
        )
        + "\n\n"
        + "\n".join(aims)
    )


def _throughput(found: dict[str, Any]) -> str:
    rows = []
    for row in found["throughput"]:
        own, bare = row["remit"], row["bare"]
        kind = "threads" if row["case"] == "threads" else "`acall`s on one event loop"
        rows.append(
            [
                f"{row['callers']} {kind if row['callers'] > 1 else 'thread'}",
                f"{own['rate']:.0f}",
                f"{bare['rate']:.0f}",
                f"**{row['ratio']:.2f}** ({row['ratio_of_best']:.2f})",
                f"{own['p50']:.2f} / {own['p99']:.2f}",
                f"{bare['p50']:.2f} / {bare['p99']:.2f}",
                f"{own['cpu']:.0f} ({own['cpu_min']:.0f})",
                f"{bare['cpu']:.0f} ({bare['cpu_min']:.0f})",
            ]
        )
    aims = [
        _aim(f"32 {row['case']} ≥ 0.25 of the bare limit", row["ratio"] >= 0.25, f"{row['ratio']:.2f}")
        for row in found["throughput"]
        if row["callers"] == 32
    ]
    return (
        "## Throughput: governed calls per second, both records durable\n\n"
        "Beside the bare limit: one SQLite writer thread that commits the same leaf bytes in groups (WAL, "
        "`synchronous=FULL`, at most 256 to a commit), two appends a call, one table, nothing else. Medians of "
        "batches; in brackets the best of each.\n\n"
        + _table(
            [
                "callers",
                "Remit /s",
                "bare /s",
                "Remit ÷ bare",
                "Remit p50 / p99 ms",
                "bare p50 / p99 ms",
                "Remit CPU µs",
                "bare CPU µs",
            ],
            rows,
        )
        + "\n\n"
        + "\n".join(aims)
    )


def _lag(found: dict[str, Any]) -> str:
    lags = found["lag_ms"]
    median = {key: statistics.median(each[key] for each in lags) for key in ("p50", "p99", "max", "ms")}
    return (
        "## Event loop\n\n"
        f"200 `acall`s at once took {median['ms']:.0f} ms; meanwhile a 1 ms tick on the same loop came late by "
        f"{median['p50']:.1f} ms (p50), {median['p99']:.1f} ms (p99), {median['max']:.1f} ms (max); medians of "
        f"{len(lags)} rounds, the worst of all {max(each['max'] for each in lags):.1f} ms."
    )


def _breakdown(found: dict[str, Any]) -> str:
    wall, cpu, plain = (found["breakdown_us"][key] for key in ("wall", "cpu", "plain"))
    rows = []
    for thread in ("caller", "writer"):
        labels = list(dict.fromkeys([*wall["pieces"][thread], *cpu["pieces"][thread]]))
        for label in labels:
            numbers = [each["pieces"][thread].get(label) for each in (wall, cpu)]
            rows.append([thread, label, *("" if number is None else f"{number:.0f}" for number in numbers)])
    rows.append(["", "Python between the pieces", f"{wall['rest']:.0f}", f"{cpu['rest']:.0f}"])
    rows.append(
        ["", "**one call, with the clocks that measured this**", f"**{wall['whole']:.0f}**", f"**{cpu['whole']:.0f}**"]
    )
    rows.append(["", "one call without them", f"{plain['wall']:.0f}", f"{plain['cpu']:.0f}"])
    return (
        "## Where the time of one call goes\n\n"
        "One caller, µs a call; a call is two transactions. The fastest of the batches.\n\n"
        + _table(["thread", "piece", "wall", "CPU"], rows)
    )


def _aim(text: str, met: bool, number: str) -> str:
    return f"- Aim: {text}: **{'met' if met else 'not met'}**, {number}."
