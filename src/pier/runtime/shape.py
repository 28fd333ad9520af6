"""Which namespaces a blank child is born into: a value that daemon and launcher share."""

from pier.linux import namespaces

KINDS = ("mount", "uts", "ipc", "pid", "network", "cgroup")


class Shape:
    """The namespaces that are new for a child; the others are the launcher's, until its plan joins other ones.

    The cgroup namespace is unshared after the cgroup was joined, since its root is the cgroup at that moment
    (cgroup_namespaces(7)); the others are made by the clone. Equal and hashable by its kinds.
    """

    __slots__ = ("new",)
    new: frozenset[str]

    def __init__(self, new: "frozenset[str] | set[str] | tuple[str, ...]") -> None:
        unknown = set(new) - set(KINDS)
        if unknown:
            raise ValueError(f"no such kind of namespace: {', '.join(sorted(unknown))}")
        object.__setattr__(self, "new", frozenset(new))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a Shape does not change")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shape) and other.new == self.new

    def __hash__(self) -> int:
        return hash(self.new)

    def __repr__(self) -> str:
        return f"Shape({' '.join(self.encode())})"

    @classmethod
    def default(cls, unified: bool) -> "Shape":
        """The pool's: everything new; the cgroup namespace on cgroup v2 only, as in Docker."""
        return cls(frozenset(KINDS) if unified else frozenset(KINDS) - {"cgroup"})

    def encode(self) -> list[str]:
        """The kinds in a fixed order, for a message."""
        return [kind for kind in KINDS if kind in self.new]

    def clone_flags(self) -> int:
        """The CLONE_NEW* flags of the clone itself."""
        return namespaces.flags_of(self.new - {"cgroup"})
