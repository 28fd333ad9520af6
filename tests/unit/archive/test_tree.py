"""What entries add up to: the rules of layers, and the attacks that must stop at them."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.archive.chunks import Chunks
from pier.archive.erofs import walk
from pier.archive.limits import Limits
from pier.archive.refusal import BadArchive
from pier.archive.tarstream import TarReader
from pier.archive.tree import CHAR, FILE, FOLDER, LINK, OPAQUE, Inode, Tree

from . import tars


def grown(*parts: bytes, limits: Limits | None = None) -> Tree:
    tree = Tree(limits or Limits())
    view = io.BytesIO(tars.tar(*parts))
    reader = TarReader(Chunks(lambda: view.read(4096)))
    while entry := reader.next():
        tree.add(entry)
    return tree


def names(tree: Tree) -> dict[bytes, Inode]:
    return dict(walk(tree.root))


def refused(*parts: bytes) -> str:
    with pytest.raises(BadArchive) as caught:
        grown(*parts)
    return str(caught.value)


@pytest.mark.parametrize("name", [b"a/b", b"/a/b", b"./a/b", b"a//b", b"a/./b", b"./././a/b/", b"//a/b"])
def test_names_are_relative_to_the_root(name: bytes) -> None:
    assert list(names(grown(tars.file(name)))) == [b"a", b"a/b"]


def test_missing_parents_are_plain_folders_until_their_entry_comes() -> None:
    tree = grown(tars.file(b"a/b/c"), tars.folder(b"a", 0o700, uid=5))
    a, b = names(tree)[b"a"], names(tree)[b"a/b"]
    assert (a.mode, a.uid, a.mtime) == (0o700, 5, 1_600_000_000) and (b.mode, b.uid, b.mtime) == (0o755, 0, 0)
    assert b"a/b/c" in names(tree)


def test_the_root_has_an_entry_too() -> None:
    tree = grown(tars.folder(b"./", 0o711, uid=3))
    assert (tree.root.mode, tree.root.uid) == (0o711, 3)


def test_the_last_entry_wins() -> None:
    tree = grown(tars.file(b"a", b"1"), tars.symlink(b"a", b"x"), tars.file(b"a", b"22"))
    assert names(tree)[b"a"].size == 2


def test_a_file_replaces_a_folder_with_its_content_and_back() -> None:
    tree = grown(tars.file(b"d/x/y"), tars.file(b"d", b"1"))
    assert list(names(tree)) == [b"d"] and names(tree)[b"d"].kind == FILE
    tree = grown(tars.file(b"d/x/y"), tars.file(b"d"), tars.file(b"e"), tars.folder(b"d"), tars.file(b"d/new"))
    assert list(names(tree)) == [b"d", b"d/new", b"e"]


def test_hard_links_share_and_survive_a_replaced_name() -> None:
    tree = grown(tars.file(b"a", b"1"), tars.hardlink(b"b", b"./a"), tars.hardlink(b"c", b"/b"), tars.file(b"a", b"22"))
    found = names(tree)
    assert found[b"b"] is found[b"c"] and found[b"b"].nlink == 2 and found[b"a"].nlink == 1 and found[b"a"].size == 2


def test_a_hard_link_may_name_a_symbolic_link() -> None:
    found = names(grown(tars.symlink(b"l", b"nowhere"), tars.hardlink(b"m", b"l")))
    assert found[b"m"].kind == LINK and found[b"m"].nlink == 2


def test_links_among_the_parents_stay_inside_the_layer() -> None:
    tree = grown(
        tars.folder(b"usr/lib"), tars.symlink(b"lib", b"usr/lib"), tars.symlink(b"out", b"../../../usr"), tars.file(b"lib/x"), tars.file(b"out/y")
    )
    assert {b"usr/lib/x", b"usr/y"} <= set(names(tree))
    tree = grown(tars.folder(b"etc"), tars.symlink(b"l", b"/etc"), tars.file(b"l/passwd"))
    assert b"etc/passwd" in names(tree)


def test_a_replaced_link_is_not_followed_any_more() -> None:
    tree = grown(tars.folder(b"t"), tars.symlink(b"l", b"t"), tars.file(b"l/one"), tars.folder(b"l"), tars.file(b"l/two"))
    assert {b"t/one", b"l/two"} <= set(names(tree)) and b"t/two" not in names(tree)
    tree = grown(tars.folder(b"l"), tars.file(b"l/one"), tars.folder(b"t"), tars.symlink(b"l", b"t"), tars.file(b"l/two"))
    assert b"t/two" in names(tree)


def test_whiteouts() -> None:
    found = names(grown(tars.file(b"d/.wh.gone"), tars.file(b"d/kept"), tars.file(b"d/.wh.kept"), tars.file(b"p/.wh..wh..opq")))
    assert found[b"d/gone"].is_whiteout and found[b"d/gone"].kind == CHAR
    assert found[b"d/kept"].kind == FILE and (found[b"p"].xattrs or {}) == {OPAQUE: b"y"}


@pytest.mark.parametrize(
    "parts",
    [(tars.file(b".wh.d"), tars.folder(b"d")), (tars.folder(b"d"), tars.file(b".wh.d")), (tars.file(b".wh.d"), tars.file(b"d/x"))],
    ids=["before", "after", "parent"],
)
def test_a_whiteout_and_a_folder_of_one_name_make_an_opaque_folder(parts: tuple[bytes, ...]) -> None:
    assert (names(grown(*parts))[b"d"].xattrs or {}).get(OPAQUE) == b"y"


def test_a_later_entry_of_an_opaque_folder_leaves_it_opaque() -> None:
    found = names(grown(tars.file(b"d/.wh..wh..opq"), tars.folder(b"d", 0o700)))
    assert found[b"d"].mode == 0o700 and (found[b"d"].xattrs or {}).get(OPAQUE) == b"y"


def test_what_aufs_kept_for_itself_is_skipped() -> None:
    assert names(grown(tars.folder(b".wh..wh.plnk"), tars.file(b".wh..wh.plnk/1.2"), tars.file(b".wh..wh.aufs"))) == {}


def test_attributes_that_a_layer_cannot_carry_are_dropped_and_counted() -> None:
    records = [
        (b"SCHILY.xattr." + name, b"v") for name in (b"user.a", b"trusted.overlay.redirect", b"trusted.x", b"com.apple.q", b"user.overlay.opaque")
    ]
    tree = grown(tars.pax(records), tars.file(b"f"), tars.pax(records), tars.symlink(b"l", b"x"))
    assert names(tree)[b"f"].xattrs == {b"user.a": b"v", b"trusted.x": b"v"} and names(tree)[b"l"].xattrs == {b"trusted.x": b"v"}
    assert tree.dropped == {b"trusted.overlay.redirect": 2, b"com.apple.q": 2, b"user.overlay.opaque": 2, b"user.a": 1}


def test_times_that_do_not_fit_become_1970() -> None:
    found = names(grown(tars.header(b"a", mtime=tars.base256(-5, 12)), tars.header(b"b", mtime=tars.base256(1 << 40, 12))))
    assert found[b"a"].mtime == found[b"b"].mtime == 0


def test_device_numbers() -> None:
    assert names(grown(tars.header(b"sda", b"4", device=(8, 0x12345))))[b"sda"].rdev == 0x45 | 8 << 8 | 0x123 << 20


capability = b"\0\0\0\2" + bytes(16)
BAD = {
    "parent": ((tars.file(b"../x"),), "`..` in a name leads out"),
    "parent inside": ((tars.file(b"a/../../x"),), "`..` in a name"),
    "parent last": ((tars.folder(b"a/.."),), "`..` in a name"),
    "absolute parent": ((tars.file(b"/../etc/passwd"),), "`..` in a name"),
    "root as file": ((tars.file(b"./"),), "root can only be a folder"),
    "root as link": ((tars.symlink(b".", b"/"),), "root can only be a folder"),
    "hard link out": ((tars.hardlink(b"x", b"../../etc/shadow"),), "`..` in a name"),
    "hard link to nothing": ((tars.hardlink(b"x", b"/etc/shadow"),), "not in this layer before it"),
    "hard link to folder": ((tars.folder(b"d"), tars.hardlink(b"x", b"d")), "to the folder"),
    "hard link to itself": ((tars.file(b"x"), tars.hardlink(b"x", b"x")), "to itself"),
    "hard link through dangling": ((tars.symlink(b"l", b"/etc"), tars.hardlink(b"x", b"l/shadow")), "leads to nothing in the layer"),
    "hard link to whiteout": ((tars.file(b".wh.a"), tars.hardlink(b"x", b"a")), "not in this layer before it"),
    "parent is a file": ((tars.file(b"a"), tars.file(b"a/b")), "is not a folder"),
    "parent is a dangling link": ((tars.symlink(b"l", b"/etc"), tars.file(b"l/passwd")), "leads to nothing in the layer"),
    "links in a circle": ((tars.symlink(b"a", b"b"), tars.symlink(b"b", b"a"), tars.file(b"a/x")), "too many links"),
    "whiteout of parent": ((tars.file(b"d/.wh..."),), "a whiteout of nothing"),
    "whiteout of itself": ((tars.file(b"d/.wh.."),), "a whiteout of nothing"),
    "whiteout of nothing": ((tars.file(b"d/.wh."),), "a whiteout of nothing"),
    "long part": ((tars.gnu_long(b"n" * 256), tars.file(b"x")), "has 256 bytes"),
    "long parent": ((tars.gnu_long(b"n" * 256 + b"/x"), tars.file(b"x")), "has 256 bytes"),
    "long name": ((tars.gnu_long(b"ab/" * 1400), tars.file(b"x")), "the limit is 4095"),
    "deep": ((tars.gnu_long(b"a/" * 600 + b"x"), tars.file(b"x")), "more than 512 folders"),
    "empty link": ((tars.symlink(b"l", b""),), "1 to 4095 bytes"),
    "long link": ((tars.gnu_long(b"t" * 4096, b"K"), tars.symlink(b"l", b"x")), "1 to 4095 bytes"),
    "device": ((tars.header(b"x", b"3", device=(4096, 0)),), "12 and 20 bits"),
    "owner": ((tars.header(b"x", uid=tars.base256(0xFFFFFFFF, 8)),), "32 bits"),
    "capabilities": ((tars.pax([(b"SCHILY.xattr.security.capability", b"\0\0\0\2")]), tars.file(b"x")), "file capabilities"),
    "many attributes": ((tars.pax([(b"SCHILY.xattr.user.%d" % n, bytes(30_000)) for n in range(3)]), tars.file(b"x")), "more than 65536"),
    "attribute name": (
        (tars.pax([(b"SCHILY.xattr.user." + b"n" * 255, b"")]), tars.pax([(b"SCHILY.xattr.user." + b"n" * 255, b"1")]), tars.file(b"x")),
        "at most 255",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_no_layer_may_hold_is_refused(case: str) -> None:
    parts, reason = BAD[case]
    assert reason in refused(*parts)


def test_good_capabilities_are_kept() -> None:
    tree = grown(tars.pax([(b"SCHILY.xattr.security.capability", capability)]), tars.file(b"ping"))
    assert names(tree)[b"ping"].xattrs == {b"security.capability": capability}


def test_sparse_files_have_a_limit_together() -> None:
    sparse = tars.pax([(b"GNU.sparse.map", b"0,1"), (b"GNU.sparse.size", b"1000000")])
    parts = [sparse, tars.file(b"a", b"x"), sparse, tars.file(b"b", b"x")]
    grown(*parts, limits=Limits(sparse_bytes=2_000_000))
    with pytest.raises(BadArchive, match="sparse files of more than"):
        grown(*parts, limits=Limits(sparse_bytes=1_999_999))


part = st.sampled_from([b"a", b"b", b"..", b".", b"", b".wh.a", b".wh..wh..opq", b".wh...", b"l"])
name = st.lists(part, min_size=1, max_size=4).map(b"/".join)
entry = st.one_of(st.builds(tars.file, name), st.builds(tars.folder, name), st.builds(tars.symlink, name, name), st.builds(tars.hardlink, name, name))


@given(st.lists(entry, max_size=12))
def test_any_mixture_is_refused_or_adds_up_to_a_sound_tree(entries: list[bytes]) -> None:
    """No name that a folder cannot hold, no circle, and link counts that are the number of names."""
    try:
        tree = grown(*entries)
    except BadArchive:
        return
    counted: dict[int, int] = {}
    inodes = {}
    for path, inode in walk(tree.root):
        assert not {b"", b".", b".."} & set(path.split(b"/"))
        counted[id(inode)] = counted.get(id(inode), 0) + 1
        inodes[id(inode)] = inode
    for number, inode in inodes.items():
        assert (inode.children is not None) == (inode.kind == FOLDER)
        assert counted[number] == inode.nlink
