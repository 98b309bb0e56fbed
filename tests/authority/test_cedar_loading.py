"""Reading guardrails: forbids with an id, and every refusal with its file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from remit.authority.cedar import CedarGuardrails, source
from remit.authority.cedar.lint import lint
from remit.authority.cedar.schemas import check_tools
from remit.errors import GrantError, UsageError

GOOD = """\
// a comment; with a semicolon and "quotes"
@id("org/cap")
@reason("no agent refunds more than 100")
forbid(principal, action == Action::"payments.refund", resource)
when { context.input.amount.greaterThan(decimal("100.0")) };

@id("org/two") @approval("role:duty, user:bob@acme.com") @observe
forbid(principal in Role::"intern", action in [Action::"crm.*", Action::"mail.send"], resource is Agent) // a; b
when { context.input.text == "a; // \\" b" };
"""


def test_a_file_is_read_with_annotations_scope_and_lines(tmp_path: Path) -> None:
    """What is written is what is known of each policy; comments and strings do not confuse where one ends."""
    path = tmp_path / "org.cedar"
    path.write_text(GOOD, "utf-8")

    cap, two = source.load(path).policies

    assert (cap.id, cap.reason, cap.approval, cap.observe) == ("org/cap", "no agent refunds more than 100", (), False)
    assert cap.tools == {"payments.refund"}
    assert cap.where == f"{path}:2"
    assert (two.approval, two.observe, two.where) == (("role:duty", "user:bob@acme.com"), True, f"{path}:7")
    assert two.covers("crm.read_ticket")
    assert two.covers("mail.send")
    assert not two.covers("mail.read")


def test_a_folder_is_read_whole_and_its_digest_says_its_content(tmp_path: Path) -> None:
    """Names sort the files; a comment outside a policy changes nothing, a character inside one does."""
    (tmp_path / "b.cedar").write_text('@id("b") forbid(principal, action, resource);', "utf-8")
    (tmp_path / "a.cedar").write_text('@id("a") forbid(principal, action, resource);', "utf-8")
    first = source.load(tmp_path)
    (tmp_path / "a.cedar").write_text('// why\n@id("a") forbid(principal, action, resource);', "utf-8")
    second = source.load(tmp_path)
    (tmp_path / "a.cedar").write_text('@id("a") forbid(principal, action, resource) when { true };', "utf-8")

    assert [policy.id for policy in first.policies] == ["a", "b"]
    assert first.digest == second.digest != source.load(tmp_path).digest


def test_what_evidence_keeps_loads_to_the_same_guardrails() -> None:
    """The canonical bytes are enough to decide again what was decided under them."""
    loaded = source.load_text(GOOD)

    again = source.load_source(loaded.source)

    assert again.digest == loaded.digest
    assert [policy.json for policy in again.policies] == [policy.json for policy in loaded.policies]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("permit(principal, action, resource);", "this is a `permit`"),
        ("forbid(principal, action, resource);", "this policy has no @id"),
        ('@id("") forbid(principal, action, resource);', "no @id"),
        ('@id("remit/x") forbid(principal, action, resource);', "not beginning with remit/"),
        ('@id("a`b") forbid(principal, action, resource);', "is no id"),
        ('@id("a") forbid(principal == ?principal, action, resource);', "this is a template"),
        ('@id("a") forbid(principal, action, resource) when { context.x ', "cannot read this policy"),
        ('@id("a") forbid(principal, action == Action::"refund", resource);', 'write Action::"local.refund"'),
        ('@id("a") forbid(principal, action == Action::"crm.*", resource);', "write action in"),
        ('@id("a") forbid(principal, action == Org::Action::"crm.x", resource);', "is no tool"),
        ('@id("a") forbid(principal is Bot, action, resource);', "never a Bot"),
        ('@id("a") forbid(principal == User::"user:bob@acme.com", action, resource);', "leave it out of the id"),
        ('@id("a") forbid(principal, action, resource) when { context.sesion.mode == "x" };', "did you mean session?"),
        ('@id("a") forbid(principal, action, resource) when { context.session.hour > 3 };', "did you mean hour_utc?"),
        ('@id("a") forbid(principal, action, resource) when { principal.role == "x" };', "did you mean roles?"),
        ('@id("a") forbid(principal, action, resource) when { context.access.url == "x" };', "did you mean uri?"),
        ('@id("a") forbid(principal, action, resource) when { context == {} };', "reads the whole `context`"),
        ('@id("a") forbid(principal, action, resource) when { context.input.__entity == 1 };', "keeps for itself"),
        ('@id("a") @approval("bob") forbid(principal, action, resource);', "names nobody"),
        ('@id("a") @observe("x") forbid(principal, action, resource);', "takes no value"),
        ('@id("a") @reason("") forbid(principal, action, resource);', "@reason is empty"),
    ],
)
def test_what_no_guardrail_may_be_is_refused_with_file_and_line(tmp_path: Path, text: str, sentence: str) -> None:
    """Each refusal says where and why; one that could never match is refused rather than silently idle."""
    path = tmp_path / "org.cedar"
    path.write_text(f'@id("fine") forbid(principal, action, resource);\n\n{text}', "utf-8")

    with pytest.raises(GrantError) as refused:
        CedarGuardrails.load(path)

    assert sentence in str(refused.value)
    assert str(refused.value).startswith(f"{path}:3:")


def test_an_id_is_used_once(tmp_path: Path) -> None:
    """The second use is refused, and names the first."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.cedar").write_text('@id("org/x") forbid(principal, action, resource);', "utf-8")

    with pytest.raises(GrantError, match=r"b\.cedar:1.*taken by the guardrail at .*a\.cedar:1"):
        source.load(tmp_path)


def test_a_number_is_compared_in_one_way_by_all_guardrails_of_a_tool() -> None:
    """A Long and a decimal are never equal in Cedar, so two guardrails that disagree cannot both be right."""
    with pytest.raises(GrantError, match="as a whole number and as a decimal"):
        CedarGuardrails.from_text(
            '@id("a") forbid(principal, action == Action::"p.r", resource) when { context.input.n > 5 };'
            '@id("b") forbid(principal, action, resource) when { context.input.n.lessThan(decimal("5.0")) };'
        )


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    """An empty folder and a missing file are misuse, not an empty set of guardrails."""
    with pytest.raises(UsageError, match="no guardrails"):
        source.load(tmp_path)
    with pytest.raises(UsageError, match="cannot be read"):
        source.load(tmp_path / "none.cedar")


class TestDoubts:
    """What may be written and is seldom meant."""

    @pytest.mark.parametrize(
        ("condition", "sentence"),
        [
            ("when { context.input has amount && context.input.amount > 5 }", "a call that leaves it out passes"),
            ("unless { !(context.input has amount) || context.input.amount > 5 }", "a call that leaves it out passes"),
            ('when { context.input.path like "/srv/*" }', "crosses / and .."),
            ('when { context.input.text like "\\\\d*" }', "no regular expression"),
            ("when { context.session.labels.containsAll([]) }", "always true"),
        ],
    )
    def test_are_sentences(self, condition: str, sentence: str) -> None:
        """Each names the guardrail and what would happen."""
        text = f'@id("a") @reason("x") forbid(principal, action == Action::"p.r", resource) {condition};'

        [doubt] = lint(source.load_text(text).policies)

        assert doubt.startswith("guardrails:1: a: ")
        assert sentence in doubt

    @pytest.mark.parametrize(
        "condition",
        [
            "unless { context.input has amount && context.input.amount <= 5 }",
            'when { context.access.name like "*.pem" }',
            'when { context.input.text like "*urgent*" }',
        ],
    )
    def test_are_not_raised_without_cause(self, condition: str) -> None:
        """`unless has` refuses what is left out, and a canonical URI may be matched."""
        text = f'@id("a") @reason("x") forbid(principal, action == Action::"p.r", resource) {condition};'

        assert lint(source.load_text(text).policies) == []

    def test_name_a_misspelt_annotation(self) -> None:
        """A mistyped @approval would be a plain refusal."""
        text = '@id("a") @reason("x") @aproval("role:x") forbid(principal, action, resource);'

        [doubt] = lint(source.load_text(text).policies)

        assert "did you mean @approval?" in doubt


class TestSchemas:
    """Guardrails against what a tool takes."""

    SCHEMA: ClassVar[dict[str, Any]] = {
        "type": "object",
        "required": ["amount", "who"],
        "properties": {
            "amount": {"type": "number"},
            "who": {"type": "string"},
            "note": {"type": ["string", "null"]},
            "many": {"type": "array", "items": {"type": "integer"}},
            "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        },
    }

    def problems(self, condition: str) -> list[str]:
        """What is found for one condition."""
        text = f'@id("a") forbid(principal, action == Action::"p.r", resource) when {{ {condition} }};'
        return check_tools(source.load_text(text).policies, {"p.r": self.SCHEMA, "other.tool": {}})

    @pytest.mark.parametrize(
        "condition",
        [
            'context.input.amount.greaterThan(decimal("5.0")) && context.input.who == "bob"',
            'context.input has note && context.input.note == "x"',
            'context.input.amount == decimal("5.0") || principal.roles.contains("intern")',
            'context.session.labels.contains("x") && context.access.kind == "file" && context.session.hour_utc > 3',
        ],
    )
    def test_that_fit_are_silent(self, condition: str) -> None:
        """Right names, right types, and `has` before what may be missing."""
        assert self.problems(condition) == []

    @pytest.mark.parametrize(
        ("condition", "sentence"),
        [
            ("context.input.amuont > 5", "reads `amuont`, which the tool does not take"),
            ("context.input.who > 5", "unexpected type"),
            ("context.input.amount > 5", "unexpected type"),
            ('context.input.note == "x"', "optional attribute"),
            ('context.input.either == "x"', "not checked"),
        ],
    )
    def test_that_do_not_fit_are_told(self, condition: str, sentence: str) -> None:
        """A typo, a type, an argument that may be missing, a type that Cedar cannot say."""
        [problem] = [found for found in self.problems(condition) if sentence in found]

        assert problem.startswith("guardrails:1: a, for p.r: ")
