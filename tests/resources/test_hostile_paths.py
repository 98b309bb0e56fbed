"""Hostile file paths: whatever could be read in two ways is refused, and nothing is rewritten."""

from __future__ import annotations

import posixpath
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.errors import NotCanonical
from remit.resources.access import Access, Pattern
from remit.resources.catalogue import Catalogue
from remit.resources.entries import ToolEntry
from remit.resources.paths import canonical_path, canonical_tail, joined, under

SEGMENTS = st.text(
    alphabet=st.sampled_from("abz.09~ /\\%2eEfF5cC*?#;:@é\u0301\u200b\u202e\uff0f\u2025\ud800\x00\n\t'\""), max_size=12
)
ANY_PATH = st.lists(
    st.one_of(SEGMENTS, st.text(max_size=8), st.sampled_from(["..", ".", "", "%2e%2e"])), max_size=6
).map("/".join)


def entry(**words: object) -> ToolEntry:
    """The catalogue entry of a tool whose `path` argument is a file."""
    spec = {"accesses": ["read file://{path}"], "kinds": {"path": "path"}, **words}
    found = Catalogue.load({"tools": {"fs.read_file": spec}}).entry("fs.read_file")
    assert found is not None
    return found


def refused(text: str) -> None:
    with pytest.raises(NotCanonical):
        canonical_path(text)
    with pytest.raises(NotCanonical, match="the argument path is refused"):
        entry().resolve({"path": text})


@pytest.mark.requirement("H1")
@pytest.mark.parametrize(
    "path",
    ["/srv/../etc/passwd", "/..", "/.", "/srv/.", "/srv/./x", "/srv/..", "//srv/x", "/srv//x", "/srv/x/", "//",
    "srv/x",
     "./x", "../x", "", "/srv/..;/x", "/srv/.;a/x"],
)  # fmt: skip
def test_a_path_with_dot_or_empty_segments_is_refused(path: str) -> None:
    """Traversal in plain spelling never becomes an access."""
    refused(path)


@pytest.mark.requirement("H2")
@pytest.mark.parametrize(
    "path",
    ["/srv/%2e%2e/etc", "/srv/%2E%2E/etc", "/srv/.%2e/etc", "/srv/..%2fetc", "/srv/%2e%2e%2fetc", "/srv%2f..%2fetc",
     "/srv/..%5cetc", "/srv/%252e%252e/etc", "/srv/%25%32%65", "/srv/%c0%ae%c0%ae/etc", "/srv/..%c0%af",
     "/srv/%u002e",
     "/srv/%u2215etc", "/srv/x%00.txt", "/srv/a%20b", "/srv/%e0%80%ae"],
)  # fmt: skip
def test_a_path_with_percent_escapes_is_refused(path: str) -> None:
    """Traversal that appears only after decoding, once, twice or overlong, never becomes an access."""
    refused(path)


@pytest.mark.requirement("H3")
@pytest.mark.parametrize(
    "path", ["/srv\\..\\etc", "\\srv\\x", "C:\\x", "C:/x", "\\\\host\\share", "/srv/x\\", "file:///etc/passwd"]
)
def test_a_path_in_another_systems_spelling_is_refused(path: str) -> None:
    """Backslashes, drive letters and file URLs are not paths here."""
    refused(path)


@pytest.mark.requirement("H4")
@pytest.mark.parametrize(
    "path",
    ["~/x", "~root/x", "/srv/~/x", "/srv/~root", ' "/srv/x"', '"/srv/x"', "/srv/x'", "/srv/x ", " /srv/x", "/srv/ x/y"],
)
def test_a_path_that_a_tool_would_expand_or_trim_is_refused(path: str) -> None:
    """A home directory, quotation marks and white space at an end mean something else to many tools."""
    refused(path)


@pytest.mark.requirement("H5")
@pytest.mark.parametrize("bad", ["\x00", "\n", "\r", "\t", "\x1b", "\x7f", "\x85", "\u2028", "\u2029"])
def test_a_path_with_control_characters_is_refused(bad: str) -> None:
    """A path ends where the text ends, not at a NUL or a line break."""
    refused(f"/srv/x{bad}y")
    refused(f"/srv/x{bad}")


@pytest.mark.requirement("H6")
def test_a_path_that_is_not_in_normal_form_c_is_refused() -> None:
    """The same letters have one spelling; the composed one is accepted as it is."""
    assert canonical_path("/srv/donn\u00e9es") == "/srv/donn\u00e9es"
    refused("/srv/donne\u0301es")
    refused("/srv/\u212b")


@pytest.mark.requirement("H7")
@pytest.mark.parametrize("code", [0xD800, 0xDFFF, 0xDCE9])
def test_a_path_with_a_lone_surrogate_is_refused(code: int) -> None:
    """Text that UTF-8 cannot hold could not be recorded as it ran."""
    refused(f"/srv/{chr(code)}")


@pytest.mark.requirement("H8")
@pytest.mark.parametrize("bad", ["\u200b", "\u200d", "\u202e", "\u2066", "\ufeff", "\u00ad", "\u180e", "\U000e0061"])
def test_a_path_with_invisible_characters_is_refused(bad: str) -> None:
    """What a reviewer cannot see does not name a resource."""
    refused(f"/srv/a{bad}b")


@pytest.mark.requirement("H9")
@pytest.mark.parametrize(
    "bad", ["\uff0f", "\uff3c", "\u2025", "\uff0e\uff0e", "\ufe52\ufe52", "a\u2100b", "\uff05\uff12e"]
)
def test_a_path_that_folds_into_a_separator_is_refused(bad: str) -> None:
    """Full-width slashes, dot leaders and the like become separators under compatibility normalisation."""
    refused(f"/srv/{bad}/x")


@pytest.mark.requirement("H10")
def test_an_overlong_path_is_refused_in_a_short_sentence() -> None:
    """4,096 bytes is the most, counted in UTF-8, and the refusal does not repeat them."""
    assert canonical_path("/" + "a" * 4095)
    refused("/" + "a" * 4096)
    refused("/" + "\u00e9" * 2048)
    with pytest.raises(NotCanonical) as error:
        canonical_path("/../" + "a" * 4000)
    assert len(str(error.value)) < 300


@pytest.mark.requirement("H11")
@pytest.mark.parametrize(
    "path", ["/srv/acmeX", "/srv/acme.bak/x", "/srv", "/srv/acm", "/srv/ACME/x", "/etc/srv/acme/x"]
)
def test_a_neighbour_of_a_granted_directory_is_outside_it(path: str) -> None:
    """A directory's name as the beginning of another's is not the directory."""
    assert not under(path, "/srv/acme")
    (access,) = entry().resolve({"path": path})
    assert not Pattern.parse("read file:///srv/acme/**").matches(access)


@pytest.mark.requirement("H12")
@pytest.mark.parametrize(
    "path", ["..", "../x", "a/../../x", "./x", "a//b", "~", "~/x", "%2e%2e/x", "a\\..\\x", "", "a/", '"/etc']
)
def test_a_relative_path_cannot_leave_its_base(path: str) -> None:
    """With a `base`, a relative path is judged below it, and traversal is refused as ever."""
    with pytest.raises(NotCanonical):
        entry(base="/srv/app").resolve({"path": path})


@pytest.mark.requirement("H12")
def test_a_base_changes_what_is_judged_and_not_what_the_tool_gets() -> None:
    """Relative text is judged below the base, absolute text as itself, and the arguments stay untouched."""
    arguments = {"path": "notes/a.md"}
    found = entry(base="/srv/app").resolve(arguments)
    assert [str(access) for access in found] == ["read file:///srv/app/notes/a.md"]
    assert arguments == {"path": "notes/a.md"}
    assert joined("/srv/app", "/etc/passwd") == "/etc/passwd"
    assert joined("/srv/app", ".") == "/srv/app"
    assert joined("/", "etc") == "/etc"


@pytest.mark.requirement("H13")
def test_a_link_is_judged_with_its_target_where_links_are_followed(tmp_path: Path) -> None:
    """A link inside a granted directory that leads out of it is two accesses, and the second is not
    granted.
    """
    inside, outside = tmp_path.resolve() / "inside", tmp_path.resolve() / "outside"
    inside.mkdir()
    outside.mkdir()
    (inside / "link").symlink_to(outside)
    allowed = Pattern.parse(f"read file://{inside}/**")
    followed = entry(symlinks="follow").resolve({"path": f"{inside}/link/secret"})
    assert [access.uri for access in followed] == [f"file://{inside}/link/secret", f"file://{outside}/secret"]
    assert [allowed.matches(access) for access in followed] == [True, False]
    assert len(entry(symlinks="follow").resolve({"path": f"{inside}/plain"})) == 1
    assert len(entry().resolve({"path": f"{inside}/link/secret"})) == 1


@pytest.mark.requirement("H13")
def test_a_link_whose_target_has_no_canonical_name_is_refused(tmp_path: Path) -> None:
    """What the file system answers is held to the same rules."""
    odd = tmp_path.resolve() / "odd "
    odd.mkdir()
    (tmp_path / "link").symlink_to(odd)
    with pytest.raises(NotCanonical):
        entry(symlinks="follow").resolve({"path": f"{tmp_path.resolve()}/link"})


@given(ANY_PATH)
def test_a_canonical_path_is_what_it_was_and_stays_canonical(text: str) -> None:
    """Accepting changes nothing, and every reader of paths agrees on what it means."""
    try:
        found = canonical_path("/" + text)
    except NotCanonical:
        return
    assert found == "/" + text == canonical_path(found)
    assert posixpath.normpath(found) == found
    assert ".." not in unquote(found).split("/")


@given(ANY_PATH, st.sampled_from(["/srv", "/srv/acme", "/"]))
def test_an_access_that_a_root_pattern_matches_lies_under_that_root(text: str, root: str) -> None:
    """Pattern and path agree: what `root/**` matches is `root` or below it."""
    try:
        (access,) = entry().resolve({"path": f"/srv/{text}"})
    except NotCanonical:
        return
    pattern = Pattern.parse(f"read file://{root if root != '/' else ''}/**")
    assert pattern.matches(access) == under(f"/srv/{text}", root)


@given(ANY_PATH, ANY_PATH)
def test_two_paths_never_share_an_access(first: str, second: str) -> None:
    """The URI of a path holds the whole of it."""
    found: dict[str, Access] = {}
    for text in (first, second):
        try:
            (found[text],) = entry().resolve({"path": f"/{text}"})
        except NotCanonical:
            return
    assert (found[first] == found[second]) == (first == second)


@given(ANY_PATH)
def test_a_tail_has_as_many_segments_as_it_shows(text: str) -> None:
    """A relative path never climbs and never starts at the root."""
    try:
        found = canonical_tail(text)
    except NotCanonical:
        return
    assert not found.startswith("/")
    assert posixpath.normpath(f"/base/{found}") == f"/base/{found}"
