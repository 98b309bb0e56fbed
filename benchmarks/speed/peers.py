"""The peers' own environments, made once below a cache folder, with exact versions: their dependencies conflict."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Peer:
    """One product beside which Remit is measured."""

    name: str
    requirement: str
    worker: str


PEERS = (
    Peer("tenuo", "tenuo==0.3.3", "tenuo_worker.py"),
    Peer("agt", "agent-governance-toolkit-core==5.0.0", "agt_worker.py"),
)


def cache() -> Path:
    """`$REMIT_BENCH_CACHE`, by default `remit-bench` in the user's cache folder. On a real disk, not a tmpfs."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "remit-bench"
    folder = Path(os.environ.get("REMIT_BENCH_CACHE") or default)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def interpreter(peer: Peer) -> Path:
    """The Python of the peer's environment, which is made when it does not hold exactly the version asked for."""
    folder = cache() / peer.name
    python, stamp = folder / "bin" / "python", folder / "requirement.txt"
    if stamp.exists() and stamp.read_text("utf-8") == peer.requirement and python.exists():
        return python
    print(f"making an environment for {peer.requirement} in {folder} …", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", peer.requirement]
    subprocess.run(install, check=True, stdout=sys.stderr)
    stamp.write_text(peer.requirement, "utf-8")
    return python
