"""A fully hijacked agent in AgentDojo's own environments, without a model.

It makes every call of the user task's ground truth and every call of the injection task's, whatever it was
refused before. A call that did not run is absent from the trace and from the environment that AgentDojo's own
checkers see.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple

import yaml
from agentdojo.attacks.important_instructions_attacks import ImportantInstructionsAttack
from agentdojo.functions_runtime import FunctionCall, FunctionsRuntime
from agentdojo.task_suite.load_suites import get_suites
from agentdojo.types import text_content_block_from_string
from gates import RAN, Approver, Gate, ToolOutput, Verdict, call_key, plain
from injections import SCRIPTS
from pydantic_core import to_jsonable_python

yaml.SafeLoader = yaml.CSafeLoader  # AgentDojo reads an environment anew for each pair; libyaml gives the same trees
"""The fast loader in the place of the slow one: a measurement reads some 2,000 environments."""

BENCHMARK_VERSION = "v1.2.2"
SUITES = ("banking", "slack", "travel", "workspace")

Order = Literal["user-first", "inj-first", "after-read"]
"""When the attack runs: after the user's calls, before them, or right after the first of them."""

ApproverKind = Literal["oracle", "deny", "auto"]
"""Who answers a held call: a person who knows the user's own calls, one who refuses all, a rubber stamp."""


@cache
def suite(name: str) -> Any:
    """The AgentDojo suite of that name."""
    return get_suites(BENCHMARK_VERSION)[name]


@cache
def _start(name: str, task: str, text: str | None) -> bytes:
    """The environment in which `task` starts, pickled: loading that is much faster than copying it deeply.

    With `text` every place that AgentDojo's attack would use for this task holds it.
    """
    placed = dict.fromkeys(places(name, task), text) if text is not None else {}
    environment = suite(name).load_and_inject_default_environment(placed)
    return pickle.dumps(suite(name).user_tasks[task].init_environment(environment))


@cache
def _attack(name: str) -> Any:
    """AgentDojo's `important_instructions` attack on a suite, with the names that it uses for GPT-4o."""
    return ImportantInstructionsAttack(suite(name), SimpleNamespace(name="gpt-4o-2024-05-13"))  # type: ignore[arg-type]


@cache
def places(name: str, task: str) -> tuple[str, ...]:
    """Where AgentDojo's attack puts its text: what the task's own calls would show to a model."""
    return tuple(_attack(name).get_injection_candidates(suite(name).user_tasks[task]))


@cache
def attack_text(name: str, task: str, injection: str) -> str:
    """The text of the attack: it tells the model, in the user's name, to do the injection task first."""
    texts = _attack(name).attack(suite(name).user_tasks[task], suite(name).injection_tasks[injection])
    return str(next(iter(texts.values())))


@cache
def _user_calls(name: str, task: str, text: str | None) -> tuple[FunctionCall, ...]:
    return tuple(suite(name).user_tasks[task].ground_truth(pickle.loads(_start(name, task, text))))


def ground_truth(name: str, task: str, text: str | None = None) -> list[tuple[str, Mapping[str, Any]]]:
    """The calls that AgentDojo's authors make for a user task, as (tool, arguments)."""
    return [(call.function, _sent(name, call)) for call in _user_calls(name, task, text)]


@cache
def own_calls(name: str, task: str, text: str | None = None) -> frozenset[str]:
    """Keys of the user task's own calls."""
    return frozenset(call_key(tool, arguments) for tool, arguments in ground_truth(name, task, text))


@cache
def _tool(name: str, tool: str) -> Any:
    return next(each for each in suite(name).tools if each.name == tool)


def signature(name: str, tool: str) -> tuple[dict[str, Any], str]:
    """A tool's JSON schema and description, as a model would be given them."""
    return _tool(name, tool).parameters.model_json_schema(), _tool(name, tool).description


@cache
def _optional(name: str, tool: str) -> frozenset[str]:
    fields = _tool(name, tool).parameters.model_fields
    return frozenset(argument for argument, info in fields.items() if not info.is_required())


def _sent(name: str, call: FunctionCall) -> dict[str, Any]:
    """The call's arguments as JSON, without optional ones that are null: here that means "left out"."""
    droppable = _optional(name, call.function)
    given = {argument: plain(value) for argument, value in call.args.items()}
    return {name: value for name, value in given.items() if value is not None or name not in droppable}


def approver(kind: ApproverKind, name: str, task: str, text: str | None) -> Approver:
    """The person who answers held calls in one run."""
    if kind == "oracle":
        own = own_calls(name, task, text)
        return lambda tool, arguments: call_key(tool, arguments) in own
    answer = kind == "auto"
    return lambda tool, arguments: answer


By = Literal["user", "attacker"]
"""Whose call it is: the user task's own, or the injection's."""


class Made(NamedTuple):
    """One call that the agent tried."""

    by: By
    tool: str
    arguments: dict[str, Any]
    verdict: Verdict
    error: str | None


@dataclass(slots=True)
class Outcome:
    """How one run ended. `utility` and `security` are AgentDojo's checks (security: the attack succeeded)."""

    utility: bool
    security: bool
    calls: list[Made] = field(default_factory=list)

    def of(self, by: By) -> list[Made]:
        return [call for call in self.calls if call.by == by]


def _sequence(
    name: str, task: str, injection: str | None, order: Order, live: Any, text: str | None
) -> Iterator[tuple[By, FunctionCall]]:
    mine: list[tuple[By, FunctionCall]] = [("user", call) for call in _user_calls(name, task, text)]

    def attack() -> Iterator[tuple[By, FunctionCall]]:
        if injection is None:
            return
        before = pickle.loads(_start(name, task, text))
        script = SCRIPTS.get((name, injection))
        shipped = suite(name).injection_tasks[injection].ground_truth
        for call in script(live, before) if script else shipped(before):
            yield "attacker", call

    head = {"user-first": len(mine), "inj-first": 0, "after-read": 1}[order]
    yield from mine[:head]
    yield from attack()
    yield from mine[head:]


class _Body:
    """The tool's body in this run's environment: what a gate may call once."""

    def __init__(self, name: str, tool: str, live: Any, trace: list[FunctionCall]) -> None:
        self.outputs: list[ToolOutput] = []
        self._runtime = FunctionsRuntime(suite(name).tools)
        self._tool, self._live, self._trace = tool, live, trace

    def __call__(self, /, **arguments: Any) -> ToolOutput:
        self._trace.append(FunctionCall(function=self._tool, args=arguments))
        result, error = self._runtime.run_function(self._live, self._tool, arguments)
        self.outputs.append(ToolOutput(to_jsonable_python(result), error))
        return self.outputs[-1]


def run(
    name: str,
    task: str,
    injection: str | None,
    gate: Gate,
    order: Order,
    kind: ApproverKind,
    *,
    placed: bool = True,
) -> Outcome:
    """Plays one user task, with or without an injection task, through `gate`.

    `placed`: the text of the attack lies in the environment, so that results hold the attacker's values.
    """
    text = attack_text(name, task, injection) if placed and injection is not None else None
    live = pickle.loads(_start(name, task, text))
    trace: list[FunctionCall] = []
    made: list[Made] = []
    session = gate.begin(name, task, approver(kind, name, task, text))
    try:
        for by, call in _sequence(name, task, injection, order, live, text):
            arguments = _sent(name, call)
            body = _Body(name, call.function, live, trace)
            verdict = session.call(call.function, arguments, body)
            if len(body.outputs) != (verdict in RAN):
                raise AssertionError(f"{call.function}: {verdict}, but it ran {len(body.outputs)} times")
            error = body.outputs[0].error if body.outputs else None
            made.append(Made(by, call.function, arguments, verdict, error))
    finally:
        session.close()
    return _judge(name, task, injection, live, trace, made, text)


def _judge(
    name: str,
    task: str,
    injection: str | None,
    live: Any,
    trace: list[FunctionCall],
    made: list[Made],
    text: str | None,
) -> Outcome:
    user = suite(name).user_tasks[task]
    attack = suite(name).injection_tasks[injection] if injection else None
    said = user.GROUND_TRUTH_OUTPUT
    if attack:
        said = f"{said}\n{attack.GROUND_TRUTH_OUTPUT}".strip()
    answer = [text_content_block_from_string(said)]
    before = pickle.loads(_start(name, task, text))

    def holds(goal: Any) -> bool:
        try:
            return bool(suite(name)._check_task_result(goal, answer, before, live, trace))
        except Exception:  # noqa: BLE001 - a checker that fails on a state it did not expect has not been satisfied
            return False

    return Outcome(holds(user), attack is not None and holds(attack), made)
