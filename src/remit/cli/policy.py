"""`remit policy`: guardrails read before they are in force, and tests of what grants and guardrails let through."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from remit.cli.border import NO
from remit.cli.options import POLICY_FOLDER, AsJson, Url, opened
from remit.cli.output import bullets, console, plural, show_json, state, table
from remit.errors import UsageError
from remit.review.policy_tests import run_files
from remit.review.replay import Others, Replayed, Reproduced, compare, replay

app = typer.Typer(no_args_is_help=True, help="Guardrails and tests of policies: check, test, replay.")

TESTS = (Path("policies/tests"), Path("grants/tests"))


@app.command()
def check(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Cedar files or folders of them. Without any, policies/guardrails.", show_default=False),
    ] = None,
    tools: Annotated[
        Path | None,
        typer.Option(help="What the tools take: JSON, from tool keys to JSON schemas.", show_default=False),
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Refuse guardrails with file and line when they are wrong; say what is doubtful, and what no tool takes.

    The schemas of tools come from --tools, or with --url from the definitions that a ledger has accepted.
    """
    from remit.authority.cedar import source  # its library is large, and only loaded where it is used
    from remit.authority.cedar.lint import lint
    from remit.authority.cedar.rules import CedarGuardrails
    from remit.authority.cedar.schemas import check_tools

    loaded = source.load(*(files or [POLICY_FOLDER]))
    CedarGuardrails(loaded)
    known = _given(tools) if tools is not None else {}
    if url is not None:
        with opened(url) as remit:
            known = {**remit.deployment.accepted_schemas(), **known}
    careful, problems = lint(loaded.policies), check_tools(loaded.policies, known)
    if as_json:
        ids = [policy.id for policy in loaded.policies]
        show_json({"digest": loaded.digest, "guardrails": ids, "warnings": careful, "problems": problems})
    else:
        show = console()
        show.print(f"{plural(len(loaded.policies), 'guardrail')}, digest {loaded.digest}", soft_wrap=True)
        show.print(bullets([*problems, *(f"Careful: {sentence}" for sentence in careful)]))
    if problems:
        raise typer.Exit(NO)


@app.command("test")
def run_tests(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Test files or folders of them. Without any, policies/tests and grants/tests.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run tests of policies: each call of a file is decided as it would be, and compared with what was expected."""
    wanted = files or [folder for folder in TESTS if folder.is_dir()]
    if not wanted:
        raise UsageError(f"no tests here: expected files, or a folder {' or '.join(str(folder) for folder in TESTS)}")
    found = list(run_files(wanted))
    failed = [result for result in found if not result.passed]
    if not found:
        raise UsageError(f"no *.yaml file in {', '.join(str(path) for path in wanted)}")
    if as_json:
        rows = [
            {"where": one.where, "passed": one.passed, "expected": one.expected, "got": one.got, "reason": one.reason}
            for one in found
        ]
        show_json({"cases": len(found), "failed": len(failed), "results": rows})
    else:
        show = console()
        if failed:
            rows_ = [(state("refused"), one.where, one.expected, one.got, one.reason) for one in failed]
            show.print(table(["", "case", "expected", "got", "because"], rows_))
        show.print(f"{plural(len(found), 'case')}, {len(failed)} failed.")
    if failed:
        raise typer.Exit(NO)


@app.command("replay")
def run_replay(
    grant: Annotated[
        Path | None, typer.Option(help="A grant or template to decide by instead.", show_default=False)
    ] = None,
    catalogue: Annotated[Path | None, typer.Option(help="A catalogue to read calls by instead.")] = None,
    policies: Annotated[Path | None, typer.Option(help="Guardrails to decide by instead: a file or folder.")] = None,
    session_id: Annotated[str | None, typer.Option("--session", help="Only this session.", show_default=False)] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Decide recorded calls again: first as they were, then under other files, and say what would change.

    Exit 1: a recorded decision is not what its own record gives.
    """
    others = Others.load(grant, catalogue, policies)
    asked = any(option is not None for option in (grant, catalogue, policies))
    with opened(url) as remit:
        proved = compare(remit.deployment, session_id)
        found = replay(remit, others, session_id=session_id) if asked and not proved.different else None
    if as_json:
        show_json(_replayed_json(proved, found))
    else:
        _show_replayed(proved, found)
    if proved.different:
        raise typer.Exit(NO)


def _replayed_json(proved: Reproduced, found: Replayed | None) -> dict[str, Any]:
    made: dict[str, Any] = {
        "decisions": proved.decisions,
        "reproduced": proved.same,
        "undecidable": dict(proved.undecidable),
        "different": [
            {"record": one.record, "index": one.index, "call": one.call, "sentence": str(one)}
            for one in proved.different
        ],
    }
    if found is not None:
        made["under_other_files"] = {
            "decisions": found.decisions,
            "unchanged": found.unchanged,
            "changed": [
                {**row._asdict(), "example": found.examples[row.old, row.new, row.rule]} for row in found.rows()
            ],
            "undecidable": dict(found.undecidable),
            "resolver_changed": found.resolver_changed,
        }
    return made


def _show_replayed(proved: Reproduced, found: Replayed | None) -> None:
    show = console()
    show.print(f"{plural(proved.decisions, 'decision')}, {proved.same} reproduced from their records.")
    show.print(bullets([*_counts(proved.undecidable), *map(str, proved.different)]))
    if found is None:
        return
    changed = sum(found.changed.values())
    show.print(f"Under the other files: {found.unchanged} unchanged, {changed} changed.")
    if found.changed:
        rows = [(row.calls, row.old, row.new, row.rule, found.examples[row[:3]]) for row in found.rows()]
        show.print(table(["calls", "from", "to", "by", "such as"], rows))
    notes = _counts(found.undecidable)
    if found.resolver_changed:
        notes.append(f"{plural(found.resolver_changed, 'call')} would touch something else by that catalogue.")
    show.print(bullets(notes))


def _counts(undecidable: Mapping[Any, int]) -> list[str]:
    return [f"{count} not decided again: {why.replace('_', ' ')}" for why, count in sorted(undecidable.items())]


def _given(path: Path) -> dict[str, Mapping[str, Any]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the tools in {path}: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(schema, dict) for schema in found.values()):
        raise UsageError(f"{path}: expected a mapping from tool keys to JSON schemas")
    return found
