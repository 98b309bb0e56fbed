"""AgentDojo's own environments, tools and checks, in the version that the runs were recorded with (suites v1)."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

import yaml
from agentdojo.functions_runtime import FunctionCall, FunctionsRuntime
from agentdojo.task_suite.load_suites import get_suites
from agentdojo.types import text_content_block_from_string
from benchmarks.agentdojo.gates import ToolOutput, plain
from benchmarks.recorded.corpus import Call
from pydantic import ValidationError
from pydantic_core import to_jsonable_python

yaml.SafeLoader = yaml.CSafeLoader
"""The fast loader in the place of the slow one: an environment is read anew for each run; the trees are the same."""

BENCHMARK_VERSION = "v1"
SUITES = ("banking", "slack", "travel", "workspace")


@cache
def suite(name: str) -> Any:
    """The AgentDojo suite of that name."""
    return get_suites(BENCHMARK_VERSION)[name]


@cache
def tools(name: str) -> dict[str, Any]:
    """AgentDojo's tools of a suite, by name."""
    return {tool.name: tool for tool in suite(name).tools}


def prompt(name: str, task: str) -> str:
    """What the user asked, with its spaces as a person would write them."""
    return " ".join(suite(name).user_tasks[task].PROMPT.split())


def signature(name: str, tool: str) -> tuple[dict[str, Any], str]:
    """A tool's JSON schema and description, as a model would be given them."""
    return tools(name)[tool].parameters.model_json_schema(), tools(name)[tool].description


def sent(name: str, call: Call) -> dict[str, Any]:
    """The call's arguments as AgentDojo's runtime will pass them, as JSON.

    The runtime coerces what a model sends before a tool sees it ("13" for 13). The gate sits below that, so what is
    decided is what runs. Optional arguments that are null are left out: to these tools both mean the same. What the
    runtime refuses stays as it was sent: the runtime refuses it again.
    """
    parameters = tools(name)[call.tool].parameters
    try:
        known = parameters.model_validate(dict(call.arguments)).model_dump(exclude_unset=True)
    except ValidationError:
        return dict(call.arguments)
    fields = parameters.model_fields
    return {key: plain(value) for key, value in known.items() if value is not None or fields[key].is_required()}


@lru_cache(maxsize=4)
def _start(name: str, task: str, injections: tuple[tuple[str, str], ...]) -> bytes:
    """The environment in which a run starts, pickled: loading that is much faster than reading or copying it."""
    environment = suite(name).load_and_inject_default_environment(dict(injections))
    return pickle.dumps(suite(name).user_tasks[task].init_environment(environment))


class World:
    """One run's environment, in which calls are made and which AgentDojo's checks then look at."""

    def __init__(self, name: str, task: str, injections: Mapping[str, str]) -> None:
        self.suite, self.task = name, task
        self._before = _start(name, task, tuple(sorted(injections.items())))
        self._live = pickle.loads(self._before)
        self._runtime = FunctionsRuntime(suite(name).tools)
        self._trace: list[FunctionCall] = []

    def run(self, tool: str, arguments: Mapping[str, Any]) -> ToolOutput:
        """The tool's body, in this environment."""
        self._trace.append(FunctionCall(function=tool, args=arguments))
        result, error = self._runtime.run_function(self._live, tool, arguments)
        return ToolOutput(to_jsonable_python(result), error)

    def useful(self, answer: str) -> bool:
        """AgentDojo's check of the user's task."""
        return self._holds(suite(self.suite).user_tasks[self.task], answer)

    def attacked(self, injection: str | None, answer: str) -> bool:
        """AgentDojo's check of the injection task: the attack has succeeded."""
        return injection is not None and self._holds(suite(self.suite).injection_tasks[injection], answer)

    def _holds(self, goal: Any, answer: str) -> bool:
        said = [text_content_block_from_string(answer)]
        before = pickle.loads(self._before)
        try:
            return bool(suite(self.suite)._check_task_result(goal, said, before, self._live, self._trace))
        except Exception:  # noqa: BLE001 - a check that fails on a state it did not expect has not been satisfied
            return False


def _as_calls(calls: Sequence[FunctionCall]) -> tuple[Call, ...]:
    return tuple(Call(call.function, plain(call.args)) for call in calls)


@cache
def users_calls(name: str, task: str) -> tuple[Call, ...]:
    """What AgentDojo's authors call for a user task, in the environment without any attack."""
    return _as_calls(suite(name).user_tasks[task].ground_truth(pickle.loads(_start(name, task, ()))))


@cache
def attackers_calls(name: str, task: str, injection: str) -> tuple[Call, ...]:
    """What AgentDojo's authors call for an injection task."""
    return _as_calls(suite(name).injection_tasks[injection].ground_truth(pickle.loads(_start(name, task, ()))))
