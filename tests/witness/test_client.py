"""One witness as a log asks it: whatever it answers, only its own cosignature on this very head counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import httpx
import pytest
import respx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from remit.ledger.notes import Cosigner, read_note
from remit.witness.client import NotConsistent, NotCosigned, OtherSize, WitnessClient
from remit.witness.wire import SIZE_TYPE, origin_hash
from tests.witness.conftest import Log

URL = "https://witness.example/api"
MOMENT = 1_763_970_000
SIGNED_SIZE = {"content-type": SIZE_TYPE}

WITNESS = Cosigner("witness.example/w1", Ed25519PrivateKey.generate())
STRANGER = Cosigner("witness.example/w1", Ed25519PrivateKey.generate())
LOG = Log().grow("a", "b", "c")
BODY = read_note(LOG.note()).body


@pytest.fixture
def answers() -> Iterator[respx.MockRouter]:
    """The witness's side."""
    with respx.mock(assert_all_called=False) as router:
        yield router


def _ask(answers: respx.MockRouter, response: httpx.Response | Exception) -> tuple[int, bytes]:
    place = answers.post(f"{URL}/add-checkpoint")
    place.side_effect = response if isinstance(response, Exception) else None
    if isinstance(response, httpx.Response):
        place.return_value = response
    with closing(WitnessClient(WITNESS.key, URL + "/")) as client:
        return client.add_checkpoint(0, [], LOG.note())


def test_the_witness_s_own_line_is_taken_and_lines_of_others_are_left_aside(answers: respx.MockRouter) -> None:
    """The specification lets a witness answer with several keys; strangers' lines are ignored."""
    line, other = WITNESS.line(BODY, MOMENT), STRANGER.line(BODY, MOMENT)
    assert _ask(answers, httpx.Response(200, content=other + line)) == (MOMENT, line)
    assert _ask(answers, httpx.Response(200, content=line + other)) == (MOMENT, line)


@pytest.mark.requirement("R6")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        STRANGER.line(BODY, MOMENT),
        WITNESS.line(b"another head\n1\nAAA\n", MOMENT),
        WITNESS.line(BODY, MOMENT)[:-1],
        WITNESS.line(BODY, MOMENT) * 2,
        WITNESS.line(BODY, MOMENT) + WITNESS.line(BODY, MOMENT + 1),
        b"\n" + WITNESS.line(BODY, MOMENT),
        b"<html>",
        b"\xff\xfe",
        b"x" * 70_000,
    ],
    ids=range(11),
)
def test_an_answer_that_is_no_cosignature_on_this_head_counts_for_nothing(
    content: bytes, answers: respx.MockRouter
) -> None:
    """Nothing, another's, for another head, cut off, twice, or no text at all."""
    with pytest.raises(NotCosigned):
        _ask(answers, httpx.Response(200, content=content))


@pytest.mark.parametrize("known", [0, 3, 12_345])
def test_another_size_is_read(known: int, answers: respx.MockRouter) -> None:
    """409 with the size that the witness knows."""
    with pytest.raises(OtherSize) as refused:
        _ask(answers, httpx.Response(409, content=f"{known}\n".encode(), headers=SIGNED_SIZE))
    assert refused.value.known == known


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"3\n", {"content-type": "text/plain"}),
        (b"3\n", {}),
        (b"3", SIGNED_SIZE),
        (b"03\n", SIGNED_SIZE),
        (b"-1\n", SIGNED_SIZE),
        (b"three\n", SIGNED_SIZE),
        (b"", SIGNED_SIZE),
    ],
    ids=range(7),
)
def test_a_conflict_without_a_size_is_a_refusal(
    content: bytes, headers: dict[str, str], answers: respx.MockRouter
) -> None:
    """Whoever answers 409 for other reasons is no witness that we can follow."""
    with pytest.raises(NotCosigned, match="409 without a size"):
        _ask(answers, httpx.Response(409, content=content, headers=headers))


def test_an_inconsistent_head_is_told_apart(answers: respx.MockRouter) -> None:
    """422, with what the witness says, cleaned of what would not print."""
    with pytest.raises(NotConsistent, match=r"history \S+ rewritten") as refused:
        _ask(answers, httpx.Response(422, content=b"history was rewritten\x1b[31m"))
    assert "\x1b" not in str(refused.value)


@pytest.mark.parametrize("status", [201, 301, 302, 307, 400, 403, 404, 429, 500, 503])
def test_any_other_answer_is_a_refusal_and_no_redirect_is_followed(status: int, answers: respx.MockRouter) -> None:
    """Also a redirect to something that would answer."""
    elsewhere = answers.post("https://elsewhere.example/add-checkpoint").respond(
        200, content=WITNESS.line(BODY, MOMENT)
    )
    with pytest.raises(NotCosigned):
        _ask(answers, httpx.Response(status, headers={"location": "https://elsewhere.example/add-checkpoint"}))
    assert not elsewhere.called


@pytest.mark.parametrize(
    "trouble",
    [httpx.ConnectError("x"), httpx.ReadTimeout("x"), httpx.ConnectTimeout("x"), httpx.RemoteProtocolError("x")],
)
def test_a_witness_that_cannot_be_reached_is_named(trouble: Exception, answers: respx.MockRouter) -> None:
    """With its address and the kind of trouble."""
    with pytest.raises(NotCosigned, match=r"witness\.example/w1 at https://witness\.example/api cannot be reached"):
        _ask(answers, trouble)


def test_an_answer_that_never_ends_is_given_up(answers: respx.MockRouter) -> None:
    """By its size; each byte alone would be in time."""

    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 1000

    with pytest.raises(NotCosigned, match="more than"):
        _ask(answers, httpx.Response(200, content=endless()))


def _shown(answers: respx.MockRouter, response: httpx.Response) -> bytes | None:
    answers.get(f"{URL}/{origin_hash(LOG.origin)}/checkpoint").mock(return_value=response)
    with closing(WitnessClient(WITNESS.key, URL)) as client:
        return client.newest(LOG.origin)


def test_what_a_witness_shows_has_to_be_cosigned_by_it(answers: respx.MockRouter) -> None:
    """Anybody can show a checkpoint; this is about the one that this witness vouched for."""
    note = LOG.note() + WITNESS.line(BODY, MOMENT)
    assert _shown(answers, httpx.Response(200, content=note)) == note
    assert _shown(answers, httpx.Response(404)) is None
    make: list[Callable[[], bytes]] = [
        LOG.note,
        lambda: LOG.note() + STRANGER.line(BODY, MOMENT),
        lambda: b"\xff",
        lambda: b"",
    ]
    for content in make:
        with pytest.raises(NotCosigned):
            _shown(answers, httpx.Response(200, content=content()))
    with pytest.raises(NotCosigned):
        _shown(answers, httpx.Response(500))
