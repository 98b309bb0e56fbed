"""The catalogues that Remit ships load, and read the calls of the servers that they are for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from remit.errors import NotCanonical
from remit.resources.catalogue import Catalogue

SHIPPED = Path(__file__).parents[2] / "policies" / "catalogues"


SERVERS = ("fetch", "filesystem", "git", "github", "memory", "postgres", "slack", "sqlite", "time")
TOOLKITS = ("langchain-files", "langchain-requests", "langchain-shell", "langchain-sql")


@pytest.mark.parametrize("name", [*SERVERS, *TOOLKITS])
def test_each_shipped_catalogue_loads_alone(name: str) -> None:
    """Every key is of the server that the file is named after."""
    catalogue = Catalogue.load(SHIPPED / f"{name}.yaml")
    keys = catalogue.keys()
    assert {key.partition(".")[0] for key in keys} == {"local" if name in TOOLKITS else name}
    assert all(entry.read_only or entry.yields_accesses for entry in map(catalogue.entry, keys) if entry)


def test_all_shipped_catalogues_load_together() -> None:
    """No two of them reach one tool, and there is none that the tests above leave out."""
    assert sorted(path.stem for path in SHIPPED.glob("*.yaml")) == sorted([*SERVERS, *TOOLKITS])
    assert len(Catalogue.load(SHIPPED).keys()) == 173


@pytest.mark.parametrize(
    ("tool", "arguments", "accesses"),
    [
        ("filesystem.read_text_file", {"path": "/srv/a.md", "head": 5}, ["read file:///srv/a.md"]),
        ("filesystem.read_multiple_files", {"paths": ["/a", "/b"]}, ["read file:///a", "read file:///b"]),
        ("filesystem.move_file", {"source": "/a", "destination": "/b"}, ["write file:///a", "write file:///b"]),
        ("filesystem.list_allowed_directories", {}, []),
        ("git.git_commit", {"repo_path": "/srv/app", "message": "x"}, ["write git:///srv/app"]),
        ("git.git_log", {"repo_path": "/srv/app"}, ["read git:///srv/app"]),
        ("fetch.fetch", {"url": "https://docs.acme.com/a?b"}, ["read https://docs.acme.com/a?b"]),
        ("time.get_current_time", {"timezone": "Europe/Paris"}, []),
        ("memory.create_entities", {"entities": [{"name": "ticket 88"}]}, ["write memory://graph/ticket%2088"]),
        ("memory.create_relations", {"relations": [{"from": "a", "to": "b"}]}, ["write memory://graph/a", "write memory://graph/b"]),
        ("memory.open_nodes", {"names": ["a"]}, ["read memory://graph/a"]),
        ("sqlite.read_query", {"query": "SELECT * FROM T JOIN u"}, ["read sqlite://db/main.t", "read sqlite://db/main.u"]),
        ("sqlite.write_query", {"query": "DELETE FROM t"}, ["write sqlite://db/main.t"]),
        ("sqlite.describe_table", {"table_name": "t"}, ["read sqlite://db/main.t"]),
        ("postgres.query", {"sql": "SELECT * FROM payments"}, ["read postgres://db/public.payments"]),
        ("postgres.analyze_query_indexes", {"queries": ["TABLE a", "TABLE b"]},
         ["read postgres://db/public.a", "read postgres://db/public.b"]),
        ("slack.slack_post_message", {"channel_id": "C01", "text": "x"}, ["send slack://channels/C01"]),
        ("github.issue_read", {"owner": "acme", "repo": "web", "issue_number": 8, "method": "get"}, ["read github://acme/web/issues/8"]),
        ("github.issue_write", {"owner": "acme", "repo": "web", "method": "create"}, ["write github://acme/web/issues"]),
        ("github.get_file_contents", {"owner": "acme", "repo": "web"}, ["read github://acme/web/contents"]),
        ("github.push_files", {"owner": "acme", "repo": "web", "files": [{"path": "a/b.py"}]},
         ["write github://acme/web/contents/a/b.py"]),
        ("local.move_file", {"source_path": "/a", "destination_path": "/b"},
         ["read file:///a", "write file:///a", "write file:///b"]),
        ("local.sql_db_query", {"query": "SELECT 1 FROM t"}, ["read sqlite://db/main.t"]),
        ("local.requests_get", {"url": "https://api.acme.com/a?b"}, ["send https://api.acme.com/a?b"]),
        ("local.terminal", {"commands": ["ls /srv", "cd /srv && git status"]},
         ["run program://ls", "read file:///srv", "run program://git", "read git:///srv"]),
        ("local.shell", {"command": "true"}, ["run program://bash", "run program://true"]),
        ("local.shell", {"restart": True}, ["run program://bash"]),
    ],
)  # fmt: skip
def test_a_call_of_a_well_known_server_is_read(tool: str, arguments: dict[str, Any], accesses: list[str]) -> None:
    """The accesses are those that a grant would be written with."""
    entry = Catalogue.load(SHIPPED).entry(tool)
    assert entry is not None
    assert [str(access) for access in entry.resolve(arguments)] == accesses


def test_a_relative_path_needs_a_base_that_only_the_operator_knows() -> None:
    """The shipped file refuses it, and the sentence says what was expected."""
    entry = Catalogue.load(SHIPPED).entry("filesystem.read_text_file")
    assert entry is not None
    with pytest.raises(NotCanonical, match="not an absolute path"):
        entry.resolve({"path": "notes.md"})
