"""What the witness's tests share: real witness processes on this machine, and a small log that can also lie."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from remit.ledger.merkle import consistency_proof, leaf_hash, root_of
from remit.ledger.notes import Signer, WitnessKey
from remit.witness.client import WitnessClient

ORIGIN = "acme.com/remit-test"


class Log:
    """A log whose key is at hand: it grows, forks and goes back as a test likes."""

    def __init__(
        self, key: Ed25519PrivateKey | None = None, leaves: Sequence[bytes] = (), *, origin: str = ORIGIN
    ) -> None:
        self.key = key or Ed25519PrivateKey.generate()
        self.origin = origin
        self.signer = Signer(origin, self.key)
        self.leaves = list(leaves)

    @property
    def vkey(self) -> str:
        """What a witness is configured with."""
        return self.signer.verifier.vkey

    def grow(self, *records: str) -> Log:
        """Append."""
        self.leaves += [leaf_hash(record.encode()) for record in records]
        return self

    def fork(self, size: int) -> Log:
        """Another history from `size` on, under the same key."""
        return Log(self.key, self.leaves[:size], origin=self.origin)

    def note(self, size: int | None = None) -> bytes:
        """The signed head, of now or of an earlier size."""
        size = len(self.leaves) if size is None else size
        return self.signer.checkpoint(size, root_of(self.leaves[:size]))

    def proof(self, old: int) -> list[bytes]:
        """The way from an earlier head to this one."""
        return consistency_proof(self.leaves, old)

    def ask(self, client: WitnessClient, old: int) -> int:
        """Have the head of now cosigned; returns when."""
        return client.add_checkpoint(old, self.proof(old), self.note())[0]


class WitnessProcess:
    """`remit witness` in a process of its own, by default as the command line starts it."""

    def __init__(
        self, folder: Path, logs: Sequence[str], *, name: str = "witness.example/w1", script: str = ""
    ) -> None:
        self.folder = folder
        self.logs = list(logs)
        self.name = name
        self.script = script
        self.port = 0
        self.start()

    def start(self) -> None:
        """Start, at the same port as before, and wait until it says where it is."""
        command = [sys.executable, "-c", self.script] if self.script else [sys.executable, "-m", "remit"]
        options = [
            "--listen",
            f"127.0.0.1:{self.port}",
            "--key",
            str(self.folder / f"{self.name.replace('/', '-')}.key"),
        ]
        logs = [word for log in self.logs for word in ("--log", log)]
        self.process = subprocess.Popen(
            [*command, "witness", *options, "--name", self.name, *logs],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        assert self.process.stdout is not None
        first = self.process.stdout.readline()
        if not first:
            raise AssertionError(f"the witness did not start: {self.process.communicate()[1]}")
        self.url, vkey = first.split()
        self.key = WitnessKey.parse(vkey)
        self.port = int(self.url.rpartition(":")[2])

    @property
    def memory(self) -> Path:
        """Where it keeps what it cosigned."""
        return self.folder / f"{self.name.replace('/', '-')}.key.db"

    def client(self, **options: float) -> WitnessClient:
        """How a log asks it."""
        return WitnessClient(self.key, self.url, **options)

    def policy(self, name: str = "w1") -> str:
        """Its line of a policy."""
        return f"witness {name} {self.key.vkey} {self.url}\n"

    def kill(self) -> None:
        """As when the machine loses power."""
        self.process.kill()
        self.process.communicate()

    def stop(self) -> tuple[int, str]:
        """As Ctrl-C does; exit code and what it said on stderr."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        _, said = self.process.communicate(timeout=20)
        return self.process.returncode, said


Start = Callable[..., WitnessProcess]


@pytest.fixture(scope="session")
def logs() -> list[Log]:
    """Logs that one witness knows, each for one test."""
    return [Log(origin=f"{ORIGIN}-{number}") for number in range(40)]


@pytest.fixture(scope="session")
def witness(tmp_path_factory: pytest.TempPathFactory, logs: list[Log]) -> Iterator[WitnessProcess]:
    """A witness that all tests may use which leave it as it is."""
    found = WitnessProcess(tmp_path_factory.mktemp("witness"), [log.vkey for log in logs])
    yield found
    assert found.stop()[0] == 0


@pytest.fixture
def log(logs: list[Log]) -> Log:
    """A log of three records that no witness has seen."""
    return logs.pop().grow("a", "b", "c")


@pytest.fixture
def start_witness(tmp_path: Path) -> Iterator[Start]:
    """Starts witnesses that end with the test."""
    started: list[WitnessProcess] = []

    def start(*logs: str, **options: str) -> WitnessProcess:
        started.append(WitnessProcess(tmp_path, logs, **options))
        return started[-1]

    yield start
    for witness in started:
        witness.stop()


@pytest.fixture
def client(witness: WitnessProcess) -> Iterator[WitnessClient]:
    """How a log asks the shared witness."""
    with closing(witness.client()) as found:
        yield found
