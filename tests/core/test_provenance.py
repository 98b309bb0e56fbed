"""Where a value comes from: what `from` accepts, and every way round it that we could think of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.testing import Clock
from tests.stores import temporary

CATALOGUE: dict[str, Any] = {
    "tools": {
        "crm.read_event": {"accesses": ["read crm://events/{id}"], "read_only": True},
        "crm.set_people": {"accesses": ["write crm://events/{id}"]},
        "crm.log": {"accesses": ["write crm://log/{entry}"]},
        "mail.deliver": {"accesses": ["send mailto:{to}"], "kinds": {"to": "email"}},
    }
}
EVENT = {"id": 12, "title": "Introduction", "people": ["bob@acme.com", "eve@acme.com"], "owner": "bob@acme.com"}
READ = {"tool": "crm.read_event", "at": "/people/*"}

Session = remit.Session
Make = Callable[..., Session]


def grant_of(bound: Any, **more: Any) -> dict[str, Any]:
    """A grant that bounds `to` of mail.send, and allows everything else that these tests call."""
    return {
        "task": "Invite the people of event 12 and tell bob@acme.com about order 4711",
        "principal": "user:ravi@acme.com",
        "agent": "agent:assistant",
        "expires_in": "20m",
        "self": ["ravi@acme.com"],
        "bindings": {"change": "CHG-7", "event": 12},
        "tools": {
            "mail.send": {"arguments": {"to": bound}},
            "crm.read_event": {"resources": "any"},
            "crm.set_people": {"resources": "any", "other_arguments": "any"},
            "crm.log": {"resources": "any", "other_arguments": "any"},
            "mail.deliver": {"resources": "any", "other_arguments": "any"},
            "notes.*": "any",
        },
        **more,
    }


@pytest.fixture
def app(tmp_path: Path) -> Iterator[remit.App]:
    """A development app with the catalogue above."""
    with temporary(tmp_path, clock=Clock(), catalogue=CATALOGUE) as opened:
        yield opened


@pytest.fixture
def session(app: remit.App) -> Make:
    """Opens sessions under a grant that bounds `to` of mail.send."""
    opened: list[Session] = []

    def make(bound: Any, **more: Any) -> Session:
        opened.append(app.session(app.issue(grant_of(bound, **more), credential="user:ravi@acme.com")).open())
        return opened[-1]

    return make


def gives(session: Session, tool: str, result: Any, arguments: Mapping[str, Any] | None = None, **more: Any) -> None:
    """One call of `tool` that returns `result`."""
    session.call(tool, arguments or {}, run=lambda **_: result, **more)


def may(session: Session, to: Any) -> bool:
    """Whether mail.send may go there, asked by calling it."""
    ran: list[Any] = []
    try:
        session.call("mail.send", {"to": to}, run=lambda to: ran.append(to))
    except remit.Denied:
        assert ran == []
        return False
    return True


@pytest.mark.requirement("from:result")
def test_the_participants_of_an_event_may_be_written_to(session: Make) -> None:
    """Each of them, and the principal's own address; nobody else."""
    work = session({"each": {"any_of": ["self", {"from": READ}]}})
    assert not may(work, ["bob@acme.com"])

    gives(work, "crm.read_event", EVENT, {"id": 12})

    assert may(work, ["eve@acme.com", "ravi@acme.com", "bob@acme.com"])
    assert may(work, [])
    assert not may(work, ["bob@acme.com", "mallory@evil.com"])


def test_subset_and_one_of_take_their_values_from_a_source(session: Make) -> None:
    """`subset: {from: …}` for a list, `one_of: {from: …}` for one of several."""
    many = session({"subset": {"from": READ}})
    one = session({"one_of": {"from": READ}})
    for work in (many, one):
        gives(work, "crm.read_event", EVENT, {"id": 12})

    assert may(many, ["eve@acme.com"])
    assert not may(many, ["eve@acme.com", "x@evil.com"])
    assert may(one, "eve@acme.com")
    assert not may(one, "x@evil.com")


@pytest.mark.requirement("from:one")
def test_several_distinct_values_are_none(session: Make) -> None:
    """Alone, `from` means the one value that there is; two make it ambiguous, in one result or in two."""
    work = session({"from": READ})
    gives(work, "crm.read_event", EVENT, {"id": 12})
    assert not may(work, "bob@acme.com")

    other = session({"from": {"tool": "crm.read_event", "at": "/owner"}})
    gives(other, "crm.read_event", EVENT, {"id": 12})
    assert may(other, "bob@acme.com")
    gives(other, "crm.read_event", EVENT, {"id": 12})
    assert may(other, "bob@acme.com")
    gives(other, "crm.read_event", {**EVENT, "owner": "x@evil.com"}, {"id": 13})
    assert not may(other, "bob@acme.com")
    assert not may(other, "x@evil.com")


@pytest.mark.requirement("from:bounds")
def test_the_source_call_can_be_bounded(session: Make) -> None:
    """By its arguments, and by what stands beside the value."""
    work = session({"from": {"tool": "crm.read_event", "arguments": {"id": 12}, "at": "/owner"}})
    gives(work, "crm.read_event", {**EVENT, "owner": "x@evil.com"}, {"id": 13})
    assert not may(work, "x@evil.com")
    gives(work, "crm.read_event", EVENT, {"id": 12})
    assert may(work, "bob@acme.com")

    beside = session({"from": {"tool": "notes.list", "at": "/*/owner", "where": {"title": "Introduction"}}})
    gives(
        beside, "notes.list", [{"title": "Evil", "owner": "x@evil.com"}, {"title": "Introduction", "owner": "b@a.com"}]
    )
    assert may(beside, "b@a.com")
    assert not may(beside, "x@evil.com")


def test_the_names_of_a_mapping_are_values_too(session: Make) -> None:
    """`~` as the last step; what stands beside is judged in the mapping above."""
    work = session({"each": {"from": {"tool": "notes.files", "at": "/*/shared/~", "where": {"name": "a.txt"}}}})
    gives(
        work,
        "notes.files",
        [{"name": "a.txt", "shared": {"b@a.com": "r"}}, {"name": "b.txt", "shared": {"x@y.com": "r"}}],
    )

    assert may(work, ["b@a.com"])
    assert not may(work, ["x@y.com"])
    assert not may(work, ["r"])


def test_a_pattern_takes_its_group_and_nothing_else(session: Make) -> None:
    """The whole value that the group caught, not a part of it and not what stands around it."""
    work = session({"from": {"tool": "notes.page", "pattern": r"mail: (\S+@\S+)"}})
    gives(work, "notes.page", "Contact\nmail: dora@acme.com\nmail me")
    assert may(work, "dora@acme.com")
    assert not may(work, "dora@acme.co")
    assert not may(work, "mail: dora@acme.com")

    two = session({"from": {"tool": "notes.page", "pattern": r"(\S+@\S+)"}})
    gives(two, "notes.page", "dora@acme.com or, they say, x@evil.com")
    assert not may(two, "dora@acme.com")
    assert not may(two, "x@evil.com")


def test_task_binding_and_parameter(session: Make) -> None:
    """Whole words of the task, typed; a binding; a parameter."""
    task = session({"from": {"task": True}})
    assert may(task, "bob@acme.com")
    assert may(task, 4711)
    for part in ("acme.com", "bob@acme.co", "ob@acme.com", "471", "", 4711.5, True):
        assert not may(task, part)

    binding = session({"from": {"binding": "event"}})
    assert may(binding, 12)
    assert not may(binding, "12")


def test_a_parameter_is_its_value(app: remit.App) -> None:
    """Of the template that the grant was made from."""
    template = grant_of(
        {"from": {"parameter": "who"}}, template="invite", parameters={"who": {"email": {"domains": ["acme.com"]}}}
    )
    template["task"] = "Write to ${who}"
    work = app.session(app.issue(template, {"who": "dora@acme.com"}, credential="user:ravi@acme.com")).open()

    assert may(work, "dora@acme.com")
    assert not may(work, "bob@acme.com")


@pytest.mark.requirement("from:typed")
@pytest.mark.parametrize(
    ("held", "sent"), [(5, "5"), ("5", 5), (1, True), (True, 1), (5, 5.5), ("a", ["a"]), (["a"], "a")]
)
def test_types_are_not_confused(session: Make, held: Any, sent: Any) -> None:
    """5 is not "5", and one is not true."""
    work = session({"from": {"tool": "notes.get", "at": "/v"}})
    gives(work, "notes.get", {"v": held})

    assert may(work, held)
    assert not may(work, sent)


def test_whole_lists_and_mappings_are_values_too(session: Make) -> None:
    """A pointer that ends at a list means the list."""
    work = session({"from": {"tool": "crm.read_event", "at": "/people"}})
    gives(work, "crm.read_event", EVENT, {"id": 12})

    assert may(work, ["bob@acme.com", "eve@acme.com"])
    assert not may(work, ["bob@acme.com"])
    assert not may(work, ["eve@acme.com", "bob@acme.com"])


@pytest.mark.requirement("from:echo")
@pytest.mark.parametrize(
    "said",
    [
        {"q": "x@evil.com"},
        {"q": " X@EVIL.com\n"},
        {"q": "please find x@evil.com, thanks"},
        {"q": {"deep": ["x@evil.com"]}},
        {"q": {"x@evil.com": 1}},
        {"q": "x%40evil.com"},
        {"q": "\uff58@evil.com"},
        {"q": "x\u200b@evil.com"},
        {"a": "x@", "b": "evil.com"},
        {"b": "evil.com", "a": "x@"},
        {"user": "x", "domain": "evil", "end": "com"},
    ],
)
def test_a_source_that_repeats_what_it_was_told_is_none(session: Make, said: dict[str, Any]) -> None:
    """However the tool trims, folds or joins it before it hands it back."""
    work = session({"from": {"tool": "notes.search", "at": "/0"}})
    gives(work, "notes.search", ["x@evil.com"], said)

    assert not may(work, "x@evil.com")


def test_what_a_search_finds_for_a_name_is_no_echo(session: Make) -> None:
    """The address was not in the question."""
    work = session({"from": {"tool": "notes.contacts", "at": "/*/email"}})
    gives(work, "notes.contacts", [{"name": "Sarah Baker", "email": "sarah.baker@acme.com"}], {"query": "Sarah Baker"})

    assert may(work, "sarah.baker@acme.com")


def test_numbers_are_echoes_too(session: Make) -> None:
    """As numbers, and as words in a text."""
    for said in ({"n": 5.0}, {"n": "give me 5 of them"}):
        work = session({"from": {"tool": "notes.count", "at": "/n"}})
        gives(work, "notes.count", {"n": 5}, said)
        assert not may(work, 5)


@pytest.mark.requirement("from:laundering")
def test_what_the_session_wrote_is_not_read_back_as_anothers_word(session: Make) -> None:
    """Where the catalogue knows both: by the resource."""
    work = session({"each": {"from": READ}})
    gives(work, "crm.set_people", None, {"id": 12, "people": ["x@evil.com"]})
    gives(work, "crm.read_event", {**EVENT, "people": ["bob@acme.com", "x@evil.com"]}, {"id": 12})

    assert may(work, ["bob@acme.com"])
    assert not may(work, ["x@evil.com"])


def test_what_fits_only_because_the_session_called_it_so_is_not_meant(session: Make) -> None:
    """A stranger's event that was given the name of the one that is trusted."""
    people = {"each": {"from": {**READ, "where": {"title": "Introduction"}}}}
    work = session(people)
    gives(work, "crm.set_people", None, {"id": 13, "title": "Introduction"})
    gives(work, "crm.read_event", {**EVENT, "people": ["x@evil.com"]}, {"id": 13})
    assert not may(work, ["x@evil.com"])

    gives(work, "crm.read_event", EVENT, {"id": 12})
    assert may(work, ["bob@acme.com"])


def test_writing_elsewhere_does_not_spoil_a_source(session: Make) -> None:
    """Another resource was written, and only that."""
    work = session({"each": {"from": READ}})
    gives(work, "crm.log", None, {"entry": "1", "text": "asked bob@acme.com"})
    gives(work, "crm.read_event", EVENT, {"id": 12})

    assert may(work, ["bob@acme.com"])


def test_what_was_read_before_the_write_stays_good(session: Make) -> None:
    """Using a value does not make it one's own."""
    work = session({"each": {"from": READ}})
    gives(work, "crm.read_event", EVENT, {"id": 12})
    gives(work, "crm.set_people", None, {"id": 12, "people": ["bob@acme.com"]})

    assert may(work, ["bob@acme.com"])


@pytest.mark.parametrize(
    "writes",
    [
        [("notes.put", {"text": "x@evil.com"})],
        [("notes.put", {"text": "x@ev"}), ("notes.append", {"text": "il.com"})],
        [("mail.deliver", {"to": "ravi@acme.com", "body": "x@evil.com"})],
    ],
)
def test_nobody_knows_where_an_uncatalogued_tool_or_a_message_ends_up(
    session: Make, writes: list[tuple[str, dict[str, Any]]]
) -> None:
    """So what was said to it counts as written wherever one reads; also in two halves."""
    work = session({"each": {"from": READ}})
    for tool, arguments in writes:
        gives(work, tool, None, arguments)
    gives(work, "crm.read_event", {**EVENT, "people": ["x@evil.com"]}, {"id": 12})

    assert not may(work, ["x@evil.com"])


def test_a_write_that_failed_may_have_written(session: Make) -> None:
    """An exception says nothing about what happened before it."""
    work = session({"each": {"from": READ}})

    def fail(**_: Any) -> None:
        raise TimeoutError("no answer")

    with pytest.raises(TimeoutError):
        work.call("crm.set_people", {"id": 12, "people": ["x@evil.com"]}, run=fail)
    gives(work, "crm.read_event", {**EVENT, "people": ["x@evil.com"]}, {"id": 12})

    assert not may(work, ["x@evil.com"])


def test_a_refused_write_wrote_nothing(session: Make) -> None:
    """Otherwise an attacker who is refused could spoil the user's own sources."""
    work = session({"each": {"from": READ}})
    with pytest.raises(remit.Denied):
        gives(work, "crm.delete_all", None, {"people": ["bob@acme.com"]})
    gives(work, "crm.read_event", EVENT, {"id": 12})

    assert may(work, ["bob@acme.com"])


@pytest.mark.requirement("from:ok")
@pytest.mark.parametrize("status", ["tool_error", "unknown", "pending"])
def test_only_a_result_that_is_ok_is_a_source(session: Make, status: Any) -> None:
    """A tool that failed, or of which nobody knows, vouches for nothing."""
    work = session({"each": {"from": READ}})
    gives(work, "crm.read_event", EVENT, {"id": 12}, classify=lambda result: (status, "so"))

    assert not may(work, ["bob@acme.com"])


def test_a_call_that_was_denied_is_no_source(session: Make) -> None:
    """Not even when its name is that of the source."""
    work = session({"each": {"from": {"tool": "crm.secret_list", "at": "/*"}}})
    with pytest.raises(remit.Denied):
        gives(work, "crm.secret_list", ["bob@acme.com"])

    assert not may(work, ["bob@acme.com"])


def test_a_call_that_ran_only_because_its_clause_observes_is_no_source(session: Make) -> None:
    """It was not permitted; it was let through."""
    tools = grant_of({"each": {"from": READ}})["tools"]
    tools["crm.read_event"] = {"resources": ["read crm://events/12"], "observe": True}
    work = session({"each": {"from": READ}}, tools=tools)
    gives(work, "crm.read_event", {**EVENT, "people": ["x@evil.com"]}, {"id": 13})
    assert not may(work, ["x@evil.com"])

    gives(work, "crm.read_event", EVENT, {"id": 12})
    assert may(work, ["bob@acme.com"])


@pytest.mark.requirement("from:session")
def test_another_sessions_result_is_no_source(session: Make) -> None:
    """Also under the same words."""
    one, other = session({"each": {"from": READ}}), session({"each": {"from": READ}})
    gives(one, "crm.read_event", EVENT, {"id": 12})

    assert may(one, ["bob@acme.com"])
    assert not may(other, ["bob@acme.com"])


@pytest.mark.requirement("from:erased")
def test_an_erased_result_is_no_source(app: remit.App, session: Make) -> None:
    """Also where this process had read it before."""
    work = session({"each": {"from": READ}})
    gives(work, "crm.read_event", EVENT, {"id": 12})
    assert may(work, ["bob@acme.com"])
    [outcome] = [record.id for record in app.records(work.id) if record.data.get("tool") == "crm.read_event"
                 and record.type == "call.outcome"]  # fmt: skip

    def erase(txn: Any) -> None:
        txn.erase([outcome])
        txn.append(app.ledger.draft("evidence.erased", data={"records": [outcome]}))

    app.ledger.run(erase)

    assert not may(work, ["bob@acme.com"])


def test_a_huge_result_is_no_source(session: Make) -> None:
    """More values than a decision may look through, and a result that evidence does not hold."""
    many = session({"each": {"from": {"tool": "notes.list", "at": "/*"}}})
    gives(many, "notes.list", [f"user{number}@acme.com" for number in range(1_001)])
    assert not may(many, ["user1@acme.com"])

    big = session({"from": {"tool": "notes.page", "pattern": r"(\S+@\S+)"}})
    gives(big, "notes.page", "bob@acme.com " + "x" * (1 << 20))
    assert not may(big, "bob@acme.com")


@pytest.mark.parametrize("twin", ["b\u043eb@acme.com", "bob@acme.com\u200b", "bob@\uff41cme.com", "Bob@acme.com"])
def test_look_alikes_are_other_values(session: Make, twin: str) -> None:
    """What looks the same is not the same."""
    work = session({"each": {"from": READ}})
    gives(work, "crm.read_event", EVENT, {"id": 12})

    assert not may(work, [twin])


def test_text_that_is_not_in_normal_form_is_refused(session: Make) -> None:
    """Even where the source has it so."""
    work = session({"from": {"tool": "notes.get", "at": "/v"}})
    gives(work, "notes.get", {"v": "e\u0301ve"})

    assert not may(work, "e\u0301ve")


def test_json_in_text_and_frameworks_wrappings_are_read(session: Make) -> None:
    """MCP's structured content, its only text block, and a text that is JSON."""
    text = '{"people": ["bob@acme.com"]}'
    for result in (
        text,
        {"content": [{"type": "text", "text": text}], "isError": False},
        {"content": [], "structuredContent": {"people": ["bob@acme.com"]}, "isError": False},
    ):
        work = session({"each": {"from": READ}})
        gives(work, "crm.read_event", result, {"id": 12})
        assert may(work, ["bob@acme.com"])

    twice = session({"each": {"from": READ}})
    gives(twice, "crm.read_event", '{"people": ["bob@acme.com"], "people": ["x@evil.com"]}', {"id": 12})
    assert not may(twice, ["bob@acme.com"])


def test_an_own_address_in_a_source_is_still_the_sources(session: Make) -> None:
    """Injected arguments are the application's, and say nothing."""
    work = session({"each": {"from": READ}})
    gives(work, "crm.read_event", EVENT, {"id": 12}, injected={"user": "bob@acme.com"})

    assert may(work, ["bob@acme.com"])


@pytest.mark.requirement("from:recorded")
def test_the_match_is_kept_with_the_decision_and_not_in_the_leaf(app: remit.App, session: Make) -> None:
    """Which record the value came from, by which selector; erasable like the arguments."""
    work = session({"each": {"from": READ}})
    gives(work, "crm.read_event", EVENT, {"id": 12})
    assert may(work, ["bob@acme.com"])
    records = list(app.records(work.id))
    [source] = [each for each in records if each.type == "call.outcome" and each.data["tool"] == "crm.read_event"]
    [intent] = [each for each in records if each.type == "call.intent" and each.data["tool"] == "mail.send"]

    private = intent.disclosed()

    assert private is not None
    [kept] = private["sources"]
    assert kept["values"] == [{"value": "bob@acme.com", "record": source.id}]
    assert '"at": "/people/*"' in kept["key"]
    assert b"bob@acme.com" not in intent.body
    app.verify()


def test_what_another_process_recorded_is_seen(tmp_path: Path) -> None:
    """The cache of one handle reads on from where it ended."""
    with temporary(tmp_path, clock=Clock(), catalogue=CATALOGUE) as one:
        first = one.session(one.issue(grant_of({"each": {"from": READ}}), credential="user:ravi@acme.com")).open()
        assert not may(first, ["bob@acme.com"])
        with remit.open(one.url, development=True, catalogue=CATALOGUE, clock=Clock()) as two:
            gives(two.join(first.id).open(), "crm.read_event", EVENT, {"id": 12})

        assert may(first, ["bob@acme.com"])


def test_explain_looks_at_sources_too(session: Make) -> None:
    """And says what is missing, without saying what there is."""
    work = session({"from": {"tool": "crm.read_event", "at": "/owner"}})
    assert "no result so far has one" in work.explain("mail.send", {"to": "x@evil.com"}).reason
    gives(work, "crm.read_event", EVENT, {"id": 12})

    refused = work.explain("mail.send", {"to": "x@evil.com"})

    assert refused.code == "argument_out_of_bounds"
    assert "bob@acme.com" not in refused.reason
    assert work.explain("mail.send", {"to": "bob@acme.com"}).effect == "permit"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"tool": "a.b", "at": "people"}, "begins with /"),
        ({"tool": "a.b", "at": "/a~2b"}, "after ~"),
        ({"tool": "a.b", "pattern": "a+"}, "has 0 groups"),
        ({"tool": "a.b", "pattern": "(a)(b)"}, "has 2 groups"),
        ({"tool": "a.b", "pattern": r"(a)\1"}, "look-around"),
        ({"tool": "a.*", "at": "/x"}, "name each"),
        ({"tool": ["a.b", "a.b"], "at": "/x"}, "stands twice"),
        ({"task": True, "at": "/x"}, "goes with `tool`"),
        ({"task": True, "binding": "x"}, "names task and binding"),
        ({"at": "/x"}, "names no source"),
        ({"binding": "nothing"}, "does not have"),
        ({"parameter": "nothing"}, "does not have"),
        ({"tool": "a.b", "where": {"x": 1}}, "needs `at`"),
        ({"tool": "a.b", "at": "/x", "where": {"x": {"from": {"task": True}}}}, "inside the bounds"),
        ({"tool": "a.b", "at": "/x", "arguments": {"x": {"nonsense": 1}}}, "no constraint word"),
        ("task", "expected a mapping"),
    ],
)
def test_a_source_that_means_nothing_is_refused(session: Make, source: Any, said: str) -> None:
    """When the grant is issued, with a sentence."""
    with pytest.raises(remit.GrantError, match=said):
        session({"from": source})
