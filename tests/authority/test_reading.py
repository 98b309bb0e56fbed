"""Reading a grant: what is written wrong is refused when it is read, with its line and a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from remit.authority.source import read_grant
from remit.errors import GrantError
from tests.authority.granting import issued, written

GRANT = """\
task: Refund order 4711
principal: user:alice@acme.com
agent: agent:support
expires_in: 20m
tools:
  payments.refund:
    arguments:
      amount: {max: 50}
"""


def refused(source: Any) -> str:
    """Everything that the loader says about a source, one problem a line."""
    with pytest.raises(GrantError) as caught:
        read_grant(source)
    return "\n".join(caught.value.problems)


REFUSED_FILES = [
    ("amount: {max: 50}", "amount:", "line 8: tools.payments.refund.arguments.amount: has no value"),
    ("amount: {max: 50}", "amount: {}", "is empty, which could mean everything or nothing"),
    ("amount: {max: 50}", "amount: []", "line 8: tools.payments.refund.arguments.amount: is empty"),
    ("amount: {max: 50}", "amount: ''", "write {eq: ''} for exactly the empty string"),
    ("amount: {max: 50}", "amount: {maxx: 50}", "'maxx' is no constraint word; did you mean 'max'?"),
    ("amount: {max: 50}", "amount: {max: fifty}", 'max needs a number, got "fifty"'),
    ("amount: {max: 50}", "amount: {max: true}", "max needs a number, got true"),
    ("amount: {max: 50}", "amount: {min: 51, max: 50}", "no number is min 51 and max 50"),
    ("amount: {max: 50}", "amount: {above: 5, below: 5}", "no number is above 5 and below 5"),
    ("amount: {max: 50}", "amount: {type: string, max: 50}", "no value can satisfy this"),
    ("amount: {max: 50}", "amount: {type: float}", '"float" is not a type'),
    ("amount: {max: 50}", "amount: {any: true, max: 50}", "`any` beside max says two things"),
    ("amount: {max: 50}", "amount: {any: 5}", "any takes true"),
    ("amount: {max: 50}", "amount: {absent: false}", "absent takes true"),
    ("amount: {max: 50}", "amount: {absent: true, max: 50}", "`absent` stands alone"),
    ("amount: {max: 50}", "amount: {optional: true}", "optional alone bounds nothing"),
    ("amount: {max: 50}", "amount: {max: 50, optional: maybe}", "optional takes true or false"),
    ("amount: {max: 50}", "amount: {eq: null}", "has no value"),
    ("amount: {max: 50}", "amount: [1, 1]", "1 stands twice in the list"),
    ("amount: {max: 50}", "amount: [1, 1.0]", "1.0 stands twice in the list"),
    ("amount: {max: 50}", "amount: [[1]]", "is no single value"),
    ("amount: {max: 50}", "amount: {one_of: x}", "expected a list of values"),
    ("amount: {max: 50}", "amount: {from: task}", "expected a mapping of arguments"),
    ("amount: {max: 50}", "amount: self", "`self` needs the principal's own addresses"),
    ("amount: {max: 50}", "amount: {matches: '(?=a)b'}", "look-around, including look-ahead and look-behind, is not"),
    ("amount: {max: 50}", "amount: {matches: '(a)\\1'}", "backreferences are not supported"),
    ("amount: {max: 50}", "amount: {matches: 'a)|(b'}", "is refused"),
    ("amount: {max: 50}", "amount: {under: srv/x}", "under needs an absolute, canonical path"),
    ("amount: {max: 50}", "amount: {under: /srv/../x}", "under needs an absolute, canonical path"),
    ("amount: {max: 50}", "amount: {url: {}}", "is empty"),
    ("amount: {max: 50}", "amount: {url: {schemes: [https]}}", "url needs hosts"),
    ("amount: {max: 50}", "amount: {url: {hosts: ['*.acme.com']}}", "is not a host"),
    ("amount: {max: 50}", "amount: {url: {hosts: [a.com], port: [1]}}", "did you mean 'ports'?"),
    ("amount: {max: 50}", "amount: {url: {hosts: [a.com], ports: [0]}}", "0 is not a port"),
    ("amount: {max: 50}", "amount: {url: {hosts: [a.com], schemes: [file]}}", '"file" is not a scheme'),
    ("amount: {max: 50}", "amount: {url: {hosts: [a.com], under: v1}}", "is not the path of a URL"),
    ("amount: {max: 50}", "amount: {email: [acme.com]}", "email takes {domains: […]"),
    ("amount: {max: 50}", "amount: {email: {domains: [ACME.com]}}", "is not a domain"),
    ("amount: {max: 50}", "amount: {email: {addresses: [A <a@b.com>]}}", "is not one bare e-mail address"),
    ("amount: {max: 50}", "amount: {each: {max: 5, optional: true}}", "an item of a list is never left out"),
    ("amount: {max: 50}", "amount: {keys: [a]}", "keys takes a mapping"),
    ("amount: {max: 50}", "amount: {max_len: -1}", "expected a whole number from 0 up"),
    ("amount: {max: 50}", "amount: {any_of: {a: 1}}", "any_of takes a list"),
    ("amount: {max: 50}", "amount: {eq: caf\u0065\u0301}", "is not in Unicode normal form C"),
    ("arguments:", "argument:", "'argument' is not known here; did you mean 'arguments'?"),
    ("arguments:\n      amount: {max: 50}", "", "line 6: tools.payments.refund: has no value"),
    ("arguments:\n      amount: {max: 50}", "other_arguments: all", "tools.payments.refund.other_arguments"),
    ("arguments:\n      amount: {max: 50}", "resources: read crm:tickets", "the resource"),
    ("arguments:\n      amount: {max: 50}", "resources: [read crm://a, read crm://a]", "stands twice"),
    ("arguments:\n      amount: {max: 50}", "approval: {reason: x}", "'by' is missing"),
    ("arguments:\n      amount: {max: 50}", "approval: {by: finance}", "names nobody who could"),
    (
        "arguments:\n      amount: {max: 50}",
        "approval: {by: user:bob@acme.com, count: 2}",
        "nobody could ever run this",
    ),
    (
        "arguments:\n      amount: {max: 50}",
        "approval: {by: role:finance, expires_in: 5}",
        "a span of time with its unit",
    ),
    ("arguments:\n      amount: {max: 50}", "limits: {calls: 0}", "limits.calls"),
    ("arguments:\n      amount: {max: 50}", "limits: {calls: true}", "expected a whole number"),
    ("arguments:\n      amount: {max: 50}", "limits: {call: 1}", "did you mean 'calls'?"),
    (
        "arguments:\n      amount: {max: 50}",
        "limits: {sum: {argument: amount, max: 5}}",
        "which the clause 'only' does not name",
    ),
    ("  payments.refund:", "  payments.*und:", "only SERVER.* stands for several tools"),
    ("  payments.refund:", "  Payments.refund:", "the server name"),
    ("  payments.refund:", "  payments.:", "is not a tool key"),
    ("expires_in: 20m\n", "", "never ends; every grant expires"),
    ("expires_in: 20m", "expires_in: 20", "a span of time with its unit"),
    ("expires_in: 20m", "expires_in: 5m5m", "a span of time with its unit"),
    ("expires_in: 20m", "expires_in: 9999999m", "a span of time with its unit"),
    ("expires_in: 20m", "expires_in: 0m", "longer than nothing"),
    ("expires_in: 20m", "expires: 2026-11-24", "expected an RFC 3339 moment"),
    ("expires_in: 20m", "expires: 2026-11-24T09:00:00", "with its offset"),
    ("expires_in: 20m", "expires: 2026-13-24T09:00:00Z", "not a moment on the calendar"),
    ("expires_in: 20m", "expires_in: 20m\nexpires: 2026-11-24T09:00:00Z", "keep one"),
    ("expires_in: 20m", "not_before: 2026-11-25T09:00:00Z\nexpires: 2026-11-24T09:00:00Z", "ends before it begins"),
    ("principal: user:alice@acme.com", "principal: alice@acme.com", "names nobody: expected user:NAME"),
    ("principal: user:alice@acme.com", "", "'principal' is missing"),
    ("agent: agent:support", "agent: support", "names no agent"),
    ("task: Refund order 4711", "task: ' '", "expected text"),
    ("task: Refund", "taks: Refund", "'taks' is not known here; did you mean 'task'?"),
    ("task: Refund order 4711", "task: Refund ${order}", "${order} is not a parameter; this file has no `parameters:`"),
    ("expires_in: 20m", "expires_in: 20m\nlimits: {shared: [{tools: [a.b], calls: 1}]}", "'a.b' is not under `tools`"),
    ("expires_in: 20m", "expires_in: 20m\nlimits: {shared: [{tools: [payments.refund]}]}", "limits nothing"),
    ("expires_in: 20m", "expires_in: 20m\nlimits: {shared: [{tools: [a, local.a], calls: 1}]}", "stands twice"),
    ("expires_in: 20m", "expires_in: 20m\nissue: {per_principal: 20}", "a rate such as 20/day"),
    ("expires_in: 20m", "expires_in: 20m\nbindings: {change: [a]}", "one string, number or boolean"),
    ("expires_in: 20m", "expires_in: 20m\ndelegation: {depth: -1}", "delegation.depth"),
    ("expires_in: 20m", "expires_in: 20m\nself: alice@acme.com", "a list of the principal's own addresses"),
    ("expires_in: 20m", "expires_in: 20m\nself: [a@b.com, '']", "is empty"),
    ("expires_in: 20m", "expires_in: 20m\nexpires_in: 30m", "stands twice"),
    ("expires_in: 20m", "expires_in: &a 20m", "the anchor &a is refused"),
    ("expires_in: 20m", "expires_in: !!str 20m", "the tag"),
    ("expires_in: 20m", "expires_in: 20m\nparameters: {a: {type: string}}", "it needs a name"),
]


@pytest.mark.requirement("T3")
@pytest.mark.parametrize(("old", "new", "sentence"), REFUSED_FILES, ids=[f"{row[1][:50]!r}" for row in REFUSED_FILES])
def test_what_is_written_wrong_is_refused(old: str, new: str, sentence: str) -> None:
    """Empty, unknown, misspelt, contradictory, never-ending: each has its sentence and a line."""
    assert old in GRANT

    said = refused(GRANT.replace(old, new))

    assert sentence in said
    assert ", line " in said


def test_every_problem_is_listed() -> None:
    """One look shows everything that has to be corrected."""
    text = GRANT.replace("max: 50", "maxx: 50").replace("agent: agent:support", "agent: support")

    said = refused(text)

    assert "line 3: agent: 'support' names no agent" in said
    assert "line 8: tools.payments.refund.arguments.amount.maxx: 'maxx' is no constraint word" in said


class TestClauses:
    """Several clauses under a tool, and several keys for one."""

    def test_each_of_several_clauses_needs_a_name(self) -> None:
        """A rule id has to name one clause."""
        tools = {"t.t": [{"arguments": {"a": 1}}, {"name": "b", "arguments": {"a": 2}}]}

        assert "each of several clauses needs a name" in refused(written(tools))

    def test_two_clauses_cannot_share_a_name(self) -> None:
        """Nor can two clauses be told apart by position alone."""
        tools = {"t.t": [{"name": "b", "arguments": {"a": 1}}, {"name": "b", "arguments": {"a": 2}}]}

        assert "two clauses are named 'b'" in refused(written(tools))

    def test_two_keys_that_reach_one_tool_are_refused(self) -> None:
        """A bare name is `local.`; both spellings at once say two things."""
        assert "are the same tool, local.refund" in refused(written({"refund": "any", "local.refund": "any"}))

    def test_an_argument_is_the_models_or_the_applications(self) -> None:
        """Not both."""
        tools = {"t.t": {"arguments": {"tenant": "a"}, "injected": {"tenant": "a"}}}

        assert "it is one or the other" in refused(written(tools))

    @pytest.mark.parametrize(
        ("bound", "sentence"),
        [
            ({"max": 5}, "bound it with `min: 0`"),
            ({"min": -1, "max": 5}, "bound it with `min: 0`"),
            ({"min": 0, "optional": True}, "may be left out"),
            ("any", "bound it with `min: 0`"),
            ({"any_of": [{"min": 0}, "free"]}, "something other than a number"),
        ],
    )
    def test_a_sum_needs_an_argument_that_can_be_added_up(self, bound: Any, sentence: str) -> None:
        """Required, a number, never negative: otherwise the sum could be walked around or wound back."""
        limits = {"sum": {"argument": "amount", "max": 100}}

        assert sentence in refused(written({"t.t": {"arguments": {"amount": bound}, "limits": limits}}))

    def test_a_shared_sum_is_bound_in_every_clause(self) -> None:
        """A clause that does not name the argument would be a way around it."""
        tools = {"a.a": {"arguments": {"amount": {"min": 0}}}, "b.b": {"arguments": {"x": 1}}}
        limits = {"shared": [{"tools": ["a.a", "b.b"], "sum": {"argument": "amount", "max": 100}}]}

        assert "does not name" in refused(written(tools, limits=limits))


class TestSources:
    """Files, text, bytes and mappings."""

    def test_a_file_and_its_text_have_the_same_digest(self, tmp_path: Path) -> None:
        """The digest is that of the bytes."""
        path = tmp_path / "refund.yaml"
        path.write_text(GRANT, encoding="utf-8")

        assert read_grant(path).digest == read_grant(GRANT).digest == read_grant(GRANT.encode()).digest
        assert read_grant(str(path)).text == GRANT
        assert read_grant(GRANT + "# a comment\n").digest != read_grant(GRANT).digest

    def test_a_refusal_names_the_file(self, tmp_path: Path) -> None:
        """The line alone would not help among forty grants."""
        path = tmp_path / "refund.yaml"
        path.write_text(GRANT.replace("tools", "toolz"), encoding="utf-8")

        assert f"{path}, line 5: toolz" in refused(path)

    def test_a_missing_file_is_a_sentence(self, tmp_path: Path) -> None:
        """And never a traceback of the operating system's."""
        with pytest.raises(GrantError, match="cannot read the grant"):
            read_grant(tmp_path / "none.yaml")

    def test_bytes_that_are_no_text_are_refused(self) -> None:
        """As are YAML documents that are no mapping."""
        with pytest.raises(GrantError, match="not UTF-8"):
            read_grant(b"task: \xff\n")
        assert "a grant is a mapping" in refused("- a\n- b\n")

    def test_a_mapping_is_copied(self) -> None:
        """Changing it afterwards changes nothing."""
        given = written({"t.t": {"arguments": {"a": ["x"]}}})
        source = read_grant(given)
        digest = source.digest
        given["tools"]["t.t"]["arguments"]["a"].append("y")

        assert issued(written({"t.t": {"arguments": {"a": ["x"]}}})).canonical != b""
        assert read_grant(given).digest != digest
        assert source.tree["tools"]["t.t"]["arguments"]["a"] == ["x"]

    def test_a_mapping_takes_what_yaml_can_say(self) -> None:
        """Numbers that are not finite, keys that are no strings and other Python objects are refused."""
        assert "not a finite number" in refused(written({"t.t": {"arguments": {"a": float("nan")}}}))
        assert "is no string" in refused(written({"t.t": {"arguments": {1: "x"}}}))
        nested: dict[str, Any] = {}
        nested["again"] = nested
        assert "nested more than" in refused(written({"t.t": nested}))
        assert "got a Python set" in refused(written({"t.t": {"arguments": {"a": {"x"}}}}))

    def test_a_decomposed_name_is_two_ways_to_write_one(self) -> None:
        """Text that a grant compares is in NFC."""
        assert "normal form C" in refused(written({"t.t": {"arguments": {"a": "cafe\u0301"}}}))


def test_the_benchmark_grants_are_grants() -> None:
    """The 97 grants written for real tasks are read, issued and compiled."""
    folder = Path(__file__).parents[2] / "benchmarks" / "agentdojo" / "grants"
    paths = sorted(folder.rglob("*.yaml"))

    assert len(paths) == 97
    for path in paths:
        assert issued(path).tools
