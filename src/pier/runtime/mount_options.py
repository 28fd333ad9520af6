"""mount(8) words -> what the kernel's interface takes; pure."""

from dataclasses import dataclass

from pier.errors import Invalid
from pier.linux import mounts as m

_SET = {
    "ro": m.MOUNT_ATTR_RDONLY,
    "nosuid": m.MOUNT_ATTR_NOSUID,
    "nodev": m.MOUNT_ATTR_NODEV,
    "noexec": m.MOUNT_ATTR_NOEXEC,
    "noatime": m.MOUNT_ATTR_NOATIME,
    "strictatime": m.MOUNT_ATTR_STRICTATIME,
    "nodiratime": m.MOUNT_ATTR_NODIRATIME,
    "nosymfollow": m.MOUNT_ATTR_NOSYMFOLLOW,
}
_CLEAR = {
    "rw": m.MOUNT_ATTR_RDONLY,
    "suid": m.MOUNT_ATTR_NOSUID,
    "dev": m.MOUNT_ATTR_NODEV,
    "exec": m.MOUNT_ATTR_NOEXEC,
    "atime": m.MOUNT_ATTR_NOATIME,
    "nostrictatime": m.MOUNT_ATTR_STRICTATIME,
    "diratime": m.MOUNT_ATTR_NODIRATIME,
    "symfollow": m.MOUNT_ATTR_NOSYMFOLLOW,
}
_PROPAGATION = {"private": m.MS_PRIVATE, "slave": m.MS_SLAVE, "shared": m.MS_SHARED, "unbindable": m.MS_UNBINDABLE}
_IGNORED = frozenset({"defaults", "relatime", "norelatime", "newinstance", "async", "nomand", "loud"})
_ATIME = m.MOUNT_ATTR_NOATIME | m.MOUNT_ATTR_STRICTATIME


@dataclass(frozen=True)
class Parsed:
    """`add` and `clear`: MOUNT_ATTR_*; `data`: parameters of the file system in order; `propagation`: MS_* or 0."""

    add: int = 0
    clear: int = 0
    bind: bool = False
    recursive_bind: bool = False
    recursive_attributes: int = 0
    propagation: int = 0
    recursive_propagation: bool = False
    data: tuple[tuple[str, str | None], ...] = ()


def parse(options: tuple[str, ...], where: str) -> Parsed:
    """The meaning of the words; later ones win. Raises Invalid naming the mount `where` for a contradiction of words."""
    add = clear = propagation = recursive_attributes = 0
    bind = recursive = recursive_propagation = False
    data: list[tuple[str, str | None]] = []
    for word in options:
        plain = word[1:] if word.startswith("r") and word[1:] in _PROPAGATION else word
        if word in ("bind", "rbind"):
            bind, recursive = True, word == "rbind"
        elif plain in _PROPAGATION:
            propagation, recursive_propagation = _PROPAGATION[plain], plain != word
        elif word == "rro":
            recursive_attributes |= m.MOUNT_ATTR_RDONLY
            add |= m.MOUNT_ATTR_RDONLY
        elif word in _SET:
            add, clear = add | _SET[word], clear & ~_SET[word]
        elif word in _CLEAR:
            clear, add = clear | _CLEAR[word], add & ~_CLEAR[word]
        elif word in _IGNORED:
            continue
        elif "=" in word:
            key, _, value = word.partition("=")
            data.append((key, value))
        elif word:
            data.append((word, None))
    if add & _ATIME == _ATIME:
        raise Invalid(f"mount {where}: noatime and strictatime exclude each other")
    if add & _ATIME:
        clear |= m.MOUNT_ATTR_ATIME_MASK  # mount_setattr(2): a change of the atime mode clears the whole field
    if bind and data:
        raise Invalid(f"mount {where}: a bind mount takes no option {data[0][0]!r}")
    if recursive_attributes and not bind:
        raise Invalid(f"mount {where}: rro is for bind mounts")
    return Parsed(add, clear, bind, recursive, recursive_attributes, propagation, recursive_propagation, tuple(data))
