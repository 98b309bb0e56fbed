"""What the deployment bot of scenario A1 works on: a git repository, and a folder that stands for production."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

OLD, NEW = "nameserver 192.0.2.53\n", "nameserver 198.51.100.53\n"


class Repository:
    """`acme/infra` with two commits. The second, 9f31c2e, is what CHG-7 is about."""

    name = "acme/infra"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path / "dns" / "resolv.conf"
        self._file.parent.mkdir(parents=True)
        self._git("init", "--quiet", "--initial-branch=main", "--object-format=sha1")
        self._commit(OLD, "Resolvers of the old data centre", authored=1795420800, committed=1795420800)
        self._commit(NEW, "Point dns at the new resolvers\n\nChange: CHG-7", authored=AUTHORED, committed=COMMITTED)

    def file(self, commit: str, module: str) -> str:
        """A module's configuration as it stands in a commit."""
        return self._git("show", f"{commit}:{module}/resolv.conf")

    def _commit(self, text: str, message: str, *, authored: int, committed: int) -> None:
        """Author, dates and content are fixed, so that the commit's name is."""
        self._file.write_text(text, encoding="utf-8")
        self._git("add", "--all")
        dates = {"GIT_AUTHOR_DATE": f"{authored} +0000", "GIT_COMMITTER_DATE": f"{committed} +0000"}
        self._git("commit", "--quiet", "--message", message, **dates)

    def _git(self, *arguments: str, **more: str) -> str:
        """Git, whatever this account's own configuration says."""
        who = {f"GIT_{role}_{what}": said for role in ("AUTHOR", "COMMITTER") for what, said in ALICE.items()}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        plain = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.path,
            env={**kept, **plain, **who, **more},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout


class Production:
    """A folder for each module, as the last deployment left it, and a line in `releases.log` for each deployment."""

    def __init__(self, path: Path, repository: Repository) -> None:
        self.path = path
        self._repository = repository
        self._log = path / "releases.log"
        path.mkdir()

    def apply(self, module: str, source: str) -> str:
        """The tool: put a module into service as it stands in `source`, such as `acme/infra@9f31c2e`."""
        name, _, commit = source.partition("@")
        if name != self._repository.name:
            raise ValueError(f"no repository {name} is here")
        (self.path / module).mkdir(exist_ok=True)
        (self.path / module / "resolv.conf").write_text(self._repository.file(commit, module), encoding="utf-8")
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"{module} {source}\n")
        return f"{module} runs {source}"

    def releases(self) -> list[str]:
        """What was deployed, in order."""
        return self._log.read_text(encoding="utf-8").splitlines() if self._log.exists() else []

    def running(self, module: str) -> str:
        """The configuration that a module runs with."""
        return (self.path / module / "resolv.conf").read_text(encoding="utf-8")


ALICE = {"NAME": "Alice", "EMAIL": "alice@acme.com"}
AUTHORED, COMMITTED = 1795244379, 1795244398
