"""The requirements manifest: what Remit has to do, where that comes from, and, through the tests, the proof.

A test carries `@pytest.mark.requirement("id")`. `test_requirements.py` fails on a requirement that no test
proves, on a test that names no known requirement, and on a deferred one that a test proves already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

Later = Literal[2, 3, 4]
"""Where a deferred requirement is built: 2 authority, 3 evidence, 4 review and service."""


class Requirement(NamedTuple):
    """`source` says where it comes from; `behaviour` is one sentence that a test can contradict."""

    source: str
    behaviour: str
    deferred: Later | None = None


def _family(
    source: str, behaviours: Mapping[str, str], deferred: Mapping[str, Later] | None = None
) -> dict[str, Requirement]:
    """Requirements of one source; `deferred` names those that a later part builds."""
    later = deferred or {}
    return {name: Requirement(source, text, later.get(name)) for name, text in behaviours.items()}


_INVARIANTS: Final = _family(
    "design 3, invariants",
    {
        "I1": "Whatever is empty, unknown, missing or unresolved is denied.",
        "I2": "No intent record, no call; a denial is a record too, and the tool is not entered.",
        "I3": "What was decided is what runs; ambiguous input is refused, never rewritten.",
        "I4": "A child grant never does what its parent cannot; every link is checked on each call.",
        "I5": "Identity comes from credentials; what is only said is a claim, and a conflict is refused.",
        "I6": "A decision is a pure function of recorded inputs.",
        "I7": "An intent left by a dead writer becomes unknown, by writers only; a late outcome supersedes.",
        "I8": "Issuers, approvers, reviewers and configuration changes are recorded in the agents' ledger.",
        "I9": "A decision, verdict or checkpoint is never edited; a later record supersedes it.",
        "I10": "One call runs once, however often a framework re-enters.",
        "I11": "A framework's error object is recorded as the error that it is.",
    },
)

_CODES: Final = _family(
    "design 3, denial codes",
    {
        "code:no_grant": "A call outside any session is refused.",
        "code:grant_expired": "A call after the grant's end is refused.",
        "code:not_yet_valid": "A call before the grant's beginning is refused.",
        "code:grant_revoked": "A call under a revoked grant is refused from the next call on.",
        "code:session_closed": "A call in a closed session is refused.",
        "code:session_suspended": "Past its limit of refusals a session waits for a person.",
        "code:tool_not_granted": "A tool that the grant does not name is refused.",
        "code:argument_out_of_bounds": "An argument outside every clause is refused, by name.",
        "code:resource_out_of_scope": "An access outside the clause's resources is refused.",
        "code:resource_unresolved": "A call whose resource cannot be read in one way is refused.",
        "code:guardrail": "A guardrail refuses what a grant would permit: Remit's own files, always.",
        "code:limit_reached": "A call past a limit is refused, exactly, across threads and processes.",
        "code:approval_required": "A call whose clause asks for approval waits for a person.",
        "code:approval_refused": "A call that a person refused is not run.",
        "code:approval_mismatch": "An approval of one call does not serve another.",
        "code:approval_expired": "An approval past its time is not used.",
        "code:delegation_widened": "A child grant wider than its parent is refused.",
        "code:delegation_too_deep": "A delegation below the allowed depth is refused.",
        "code:delegate_only": "Authority that may only be handed on is not used.",
        "code:audience_mismatch": "A token for another audience is refused.",
        "code:identity_conflict": "A claim that contradicts the authenticated identity is refused.",
        "code:tool_changed": "A tool whose definition changed is refused until a person accepts it.",
        "code:call_conflict": "The same call id with other content is refused.",
        "code:already_executed": "A call that ran, and whose result was not kept, does not run again.",
        "code:outcome_unknown": "A call of unknown outcome is refused until a person settles it.",
        "code:argument_unrepresentable": "An argument that evidence cannot hold is refused.",
        "code:too_large": "Arguments beyond the caps are refused.",
        "code:grant_invalid": "A grant that is not what was signed and recorded authorises nothing.",
        "code:evidence_unavailable": "A call whose record cannot be made durable is not run.",
        "code:evaluator_error": "An error while deciding is a refusal.",
    },
    deferred={},
)

_SEED: Final = _family(
    "standards 1",
    {
        "R1": "A call's record holds who, for whom, which tool, on what, in which session, and the decision.",
        "R2": "The record names the grant, its version and digest, and the clause that decided.",
        "R3": "A session's records have no gaps; one deleted or moved is found, and where.",
        "R4": "Every call leads to its session's opening and closing; nested calls name their parent.",
        "R5": "The delegation chain is kept hop by hop, with narrowing checked at each.",
        "R6": "The log is append-only, chained, signed and checked against a head kept outside it.",
        "R7": "Exports carry an index of controls.",
        "R8": "Workload, resource scope and approval state are bound inside the record.",
        "R9": "A log of logins alone is graded as not accountable.",
        "R10": "If the intent cannot be made durable, the tool does not run.",
        "R11": "Tools that are reachable outside the wrapper are reported.",
        "R12": "Overheads are measured and published beside the bare limit.",
        "R13": "One command exports a bundle that a stranger verifies offline.",
        "R14": "One grant can be revoked, from the next call on, and others go on untouched.",
        "R15": "A queue ordered by risk, and sampling with stated confidence.",
        "R16": "An inventory of every identity, tool and resource seen.",
        "R17": "What was granted and never used is listed; a grant without an end is refused.",
        "R18": "Every call has a stable id, its decision in plain words, and room for a verdict.",
        "R19": "Calls are found by resource or by a binding such as a change id.",
        "R20": "One credential used by two agents is a finding.",
        "R21": "Enforcement and its record are one atomic step.",
        "R22": "Grant, expiry, revocation and limits are read again on each call.",
        "R23": "What a decision read (time, counters, revocations) is recorded with it.",
    },
    deferred={"R7": 4, "R9": 4, "R15": 4, "R16": 4, "R20": 2},
)

_SCENARIOS: Final = _family(
    "design 10",
    {
        "A1": "The deployment bot: a named approver, a change, a commit, an expiry.",
        "A2": "A token exchange in the middle of a session.",
        "A3": "One suspicious database action among 500 sessions.",
        "A4": "The just-in-time agent on a ticket: what is outside is blocked, and somebody else signs.",
        "A5": "The auditor's sample of 59.",
    },
    deferred={"A3": 4, "A5": 4},
)

_TRAPS: Final = _family(
    "peers 4, traps",
    {
        "T1": "A rule matches on the tool that was really called, not on a name the caller passes along.",
        "T2": "Without any grant the answer is no.",
        "T3": "No option is accepted and ignored.",
        "T4": "The hash covers the decision, its rule, its reasons and its session.",
        "T5": "A constrained argument that is missing is refused.",
        "T6": "A path that walks upwards passes no pattern.",
        "T7": "A condition on a forbid is never ignored.",
        "T8": "A renamed symbol of a framework cannot turn a denial into a success.",
        "T9": "Records are never dropped from a full queue.",
        "T10": "The cost of an append does not grow with the log.",
        "T11": "No rotation unlinks the chain.",
        "T12": "Several processes write one log, not forks of it.",
        "T13": "What the README shows runs.",
        "T14": "Benchmarks run on the public API.",
    },
    deferred={"T7": 2, "T10": 3},
)

_PROJECT: Final = _family(
    "issue 2",
    {
        "P1": "The demo runs without a key or a network and leaves its ledger behind.",
        "P2": "Every read command speaks JSON; exit codes are 0, 1 and 2; an error is one sentence.",
        "P3": "Every dependency is listed with its reason.",
        "P4": "A reviewer who is principal, issuer or approver is refused.",
    },
)

_OPERATIONS: Final = _family(
    "issue 4, operations",
    {
        "fsck": "Every read model is rebuilt from the records, after any history; any change by hand is found.",
        "doctor": "What endangers recording or evidence is reported, each with what to do.",
        "durability": "Weaker durability is chosen explicitly, recorded, and shown by every report.",
        "gap": "Records that were given up are counted, and the count is a record once writing works again.",
    },
)

_HOSTILE: Final = _family(
    "policy 5, hostile arguments: each is refused",
    {
        "H1": "A path with dot or empty segments.",
        "H2": "A path with percent escapes.",
        "H3": "A path in another system's spelling.",
        "H4": "A path that a tool would expand or trim.",
        "H5": "A path with control characters.",
        "H6": "Text that is not in normal form C, where it is compared.",
        "H7": "A lone surrogate.",
        "H8": "Invisible characters.",
        "H9": "A path that folds into a separator.",
        "H10": "An overlong path or URL.",
        "H11": "A neighbour of a granted directory.",
        "H12": "A relative path that leaves its base.",
        "H13": "A link whose target lies outside, where links are followed.",
        "H14": "A URL with user info.",
        "H15": "A numeric host.",
        "H16": "A look-alike or malformed host.",
        "H17": "A URL outside the strict grammar.",
        "H18": "A URL whose path means another path.",
        "H19": "A URL with a second spelling of port, case or escapes.",
        "H20": "YAML that could hide a meaning.",
        "H21": "A path inside a query that should satisfy a pattern.",
        "H22": "A host that resembles a granted one.",
        "H23": "More than one bare address in a string.",
        "H24": "Relay syntax, options and quoting in an address.",
        "H25": "A look-alike address.",
        "H26": "A value that could become another number of segments.",
        "H27": "A value that looks like a template's syntax and would be read as it.",
        "H28": "A value that is neither string nor integer where a resource is named.",
        "H29": "A list with one bad item, or a call that names no resource.",
        "H30": "A value that only coercion would make fit the schema.",
        "H31": "An amount above the bound.",
        "H32": "A negative amount.",
        "H33": "An amount as text.",
        "H34": "True as an amount.",
        "H35": "Not-a-number.",
        "H36": "Infinity.",
        "H37": "An amount in a list.",
        "H38": "The amount left out.",
        "H39": "An argument that nobody named.",
        "H40": "The same argument in other case.",
        "H41": "A currency in other case.",
        "H42": "A currency as a mapping.",
        "H43": "A line after the pattern.",
        "H44": "The pattern somewhere inside.",
        "H45": "Digits of another script.",
        "H46": "Zero for false.",
        "H47": "True for one.",
        "H48": "A lone surrogate in any argument.",
        "H49": "A path that walks up.",
        "H50": "A path that walks up, encoded.",
        "H51": "A sibling with the same beginning.",
        "H52": "A resource that walks up.",
        "H53": "A resource next door.",
        "H54": "The granted host as user info.",
        "H55": "The granted host as a label of another.",
        "H56": "A backslash before the host.",
        "H57": "Two addresses in one.",
        "H58": "A display name.",
        "H59": "Text in the place of a list.",
        "H60": "A list around a refused value.",
        "H61": "A tool in other case.",
        "H62": "A tool with a look-alike letter.",
        "H63": "SQL: comments that hide or join words.",
        "H64": "SQL: quoting and escapes that end text somewhere else.",
        "H65": "SQL: names that shadow tables.",
        "H66": "SQL: tables in unusual places.",
        "H67": "SQL: statements that do more than they say.",
        "H68": "SQL: text that two readers split differently.",
        "H69": "SQL: text that exhausts a reader.",
        "H70": "SQL: the same statement respelt touches the same things.",
        "H71": "SQL: nothing that SQLite's own authorizer sees is missing.",
        "H72": "Shell: white space and line ends change nothing.",
        "H73": "Shell: programs that are computed.",
        "H74": "Shell: files that are computed.",
        "H75": "Shell: words whose meaning was changed.",
        "H76": "Shell: programs that run other programs.",
        "H77": "Shell: options that make a program write or run.",
        "H78": "Shell: text that two shells read differently.",
        "H79": "Shell: nothing that bash and dash do is missing.",
    },
)

_SOURCES: Final = _family(
    "design 5, `from`",
    {
        "from:result": "A value may be bounded by the result of an earlier permitted call of the same session.",
        "from:one": "A source that has several different values has none, except where any of them is asked for.",
        "from:bounds": "The source call, and what stands beside the value, can be bounded.",
        "from:typed": "Whole typed values are compared, never parts of them.",
        "from:echo": "What the caller said to the source is no value of the source.",
        "from:laundering": "What the session wrote is not read back as another's word.",
        "from:ok": "Only a result that is ok is a source.",
        "from:session": "Another session's result is no source.",
        "from:erased": "An erased result is no source.",
        "from:recorded": "Source record, selector and match are kept, erasable, with the decision.",
        "replay:reproduces": "Every recorded decision is decided again, identically, from its record.",
        "replay:tampered": "A record that says another decision than its facts give is named.",
        "replay:other": "Recorded calls are decided under other grants or policies, and what cannot be is counted.",
    },
)

_DELEGATION: Final = _family(
    "design 5, delegation",
    {
        "delegate:inherited": "Principal, self and bindings are the parent's and cannot be said again.",
        "delegate:tree-limits": "Limits count over the whole tree; children cannot multiply them.",
        "delegate:revoked": "Revoking a link stops everything below it on the next call, and nothing beside it.",
        "delegate:nested": "Inside a session only the session of a delegated child is opened.",
    },
)

_APPROVALS: Final = _family(
    "design 7, approvals, limits, tool definitions",
    {
        "approvals:count": "Several different persons may have to say yes; one no is enough.",
        "approvals:several": "A clause and a guardrail that both ask are two questions, answered in any order.",
        "approvals:once": "Two processes that resume one approval run its call once.",
        "approvals:wait": "A call may wait for its answer, without holding up anybody else.",
        "approvals:other-process": "Answer and resumption may come from another process.",
        "approvals:watch": "A person sees questions as they come.",
        "limits:rate": "No stretch of a rate's length holds more calls than it allows.",
        "limits:distinct": "Different resources are counted once each.",
        "limits:given-back": "A call that did not run gives back what it took of every kind of limit.",
        "limits:replay": "Decisions under every kind of limit follow from their records.",
        "limits:processes": "Processes that share a budget spend exactly that, of every kind.",
        "tools:first-sight": "A foreign server's tool waits for a person before its first call.",
        "tools:text-change": "Where the catalogue says so, changed words are recorded and the call goes on.",
        "tools:diff": "A changed definition is shown word by word to the person who accepts it.",
    },
)

_AMENDING: Final = _family(
    "design 5, amending and usage",
    {
        "amend:agent": "An agent neither amends its own grant nor answers its own request.",
        "amend:ceiling": "Only who may issue a grant may widen it; others may narrow it.",
        "amend:version": "A change that was written for another version is refused.",
        "amend:limits": "What was spent of a limit stays spent under the next version.",
        "amend:session": "Sessions go on with the next version from their next call, and decisions name it.",
        "amend:chain": "A child is amended within its parent; a parent's next version binds its children.",
        "amend:request": "An agent asks, a person answers, and asking gives nothing.",
        "usage:levels": "Granted, used, at the edge, attempted and never used, to arguments and resources.",
        "suggest:poison": "Nothing is learned from calls that were refused, judged exceeded, or whose end is unknown.",
        "suggest:replay": "The suggested grant permits every call that it was learned from.",
        "suggest:narrow": "The suggested grant permits nothing that the grant in force did not.",
        "suggest:parameters": "Values that equal a parameter under every grant of a template become the parameter.",
    },
)

_PRIVACY: Final = _family(
    "issue 4, privacy",
    {
        "privacy:secret": "A secret argument lies in no payload, reason, result, log or page; answers bind to it.",
        "privacy:redact": "A redacted argument is shown only by an act of a person that is recorded first.",
        "privacy:marks": "A grant adds marks and takes none away; dropping one widens a delegated grant.",
        "privacy:detector": "Secrets of known shape are only committed to; what only looks random is kept.",
        "privacy:results": "Results are kept, only committed to, or masked, by the catalogue's word and by size.",
        "privacy:keys": "Record keys are wrapped by a key in the home, in the environment, or by a key service.",
        "privacy:erase": "After erasing, the text is in no file, byte for byte, and every proof verifies.",
        "privacy:disclose": "One value is disclosed with its proof and says nothing of the values beside it.",
    },
)

_INTEROP: Final = _family(
    "issue 4, other verifiers and attackers",
    {
        "interop:accept": "Verifiers that others wrote accept Remit's heads, cosignatures, proofs and tiles.",
        "interop:reject": "The same verifiers reject each of these after any change.",
        "attacks:matrix": "What finds which attack on evidence is as the table in SECURITY.md says, gaps included.",
        "attacks:bits": "Every bit of every evidence row, flipped alone, is found.",
        "attacks:lies": "Evidence that is signed and in order, and says what nobody signed, is refused.",
    },
)

_CHAOS: Final = _family(
    "issue 4, chaos",
    {
        "chaos:kill": "kill -9 of writers, sequencers and servers loses nothing acknowledged; what dangles is unknown.",
        "chaos:hosts": "Two hosts share one ledger and its budgets exactly, killed or cut off at any time.",
        "chaos:away": "A server that cannot be reached is unavailable, and says nothing about the evidence.",
        "chaos:bury": "Who runs on finds out that a writer of another host is dead, and settles its calls.",
    },
)

REQUIREMENTS: Final[dict[str, Requirement]] = {
    **_AMENDING,
    **_DELEGATION,
    **_SOURCES,
    **_APPROVALS,
    **_INVARIANTS,
    **_CODES,
    **_SEED,
    **_SCENARIOS,
    **_TRAPS,
    **_PROJECT,
    **_OPERATIONS,
    **_HOSTILE,
    **_PRIVACY,
    **_INTEROP,
    **_CHAOS,
}
