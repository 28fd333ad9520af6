"""Who `--user` means, from the text of a container's own /etc/passwd and /etc/group: pure, and harmless on any bytes.

The rules are Docker's: `user`, `uid`, `user:group`, `uid:gid`; a number need not be in the files, a name must. The primary group
is among the supplementary ones (CVE-2022-36109: what is denied to a group is denied to who left it for another).
"""

from typing import NamedTuple

MAX_ID = (1 << 31) - 1


class UserError(Exception):
    """The text means nobody; the message is Docker's."""


class Identity(NamedTuple):
    """What a process becomes; `groups` begins with `gid`. `home` is "/" for who is not in the file."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def resolve(user: str, extra_groups: "tuple[str, ...] | list[str]", passwd: bytes, group: bytes, default: tuple[int, int] = (0, 0)) -> Identity:
    """The identity of `user` ("" stands for the numbers of `default`). Raises UserError."""
    name, colon, group_name = user.partition(":")
    uid, gid = default
    home, matched = "/", ""
    entry = _user_entry(name or str(uid), passwd)
    if entry is not None:
        matched, uid, entry_gid, home = entry
        if user:
            gid = entry_gid
    elif name:
        number = _number(name)
        if number is None:
            raise UserError(f"unable to find user {name}: no matching entries in passwd file")
        uid, gid = number, 0
    groups: list[int] = []
    if colon and group_name:
        gid = _group_id(group_name, group)
    elif matched:
        groups = [entry_gid for _, entry_gid, members in _groups(group) if matched in members]
    for extra in extra_groups:
        groups.append(_group_id(extra, group))
    return Identity(uid, gid, tuple(dict.fromkeys((gid, *groups))), home or "/")


def _group_id(text: str, group: bytes) -> int:
    for name, gid, _ in _groups(group):
        if name == text or str(gid) == text:
            return gid
    number = _number(text)
    if number is None:
        raise UserError(f"unable to find group {text}: no matching entries in group file")
    return number


def _number(text: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        return None
    value = int(text)
    if value > MAX_ID:
        raise UserError(f"uids and gids must be in range 0-{MAX_ID}")
    return value


def _user_entry(wanted: str, passwd: bytes) -> tuple[str, int, int, str] | None:
    """(name, uid, gid, home) of the first line whose name or number is `wanted`."""
    for line in passwd.split(b"\n"):
        fields = line.strip().split(b":")
        if len(fields) < 4 or line.startswith(b"#"):
            continue
        name = fields[0].decode(errors="replace")
        uid, gid = _field(fields[2]), _field(fields[3])
        if uid is None or gid is None or (name != wanted and str(uid) != wanted):
            continue
        return name, uid, gid, fields[5].decode(errors="surrogateescape") if len(fields) > 5 else ""
    return None


def _groups(group: bytes) -> "list[tuple[str, int, list[str]]]":
    found = []
    for line in group.split(b"\n"):
        fields = line.strip().split(b":")
        gid = _field(fields[2]) if len(fields) >= 3 and not line.startswith(b"#") else None
        if gid is not None:
            members = fields[3].decode(errors="replace").split(",") if len(fields) > 3 and fields[3] else []
            found.append((fields[0].decode(errors="replace"), gid, members))
    return found


def _field(raw: bytes) -> int | None:
    if not raw.isdigit() or len(raw) > 10:
        return None
    value = int(raw)
    return value if value <= MAX_ID else None
