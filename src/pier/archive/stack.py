"""What layers on top of each other show: their trees merged into one, by overlay's rules. Pure.

The trees stay as they are: folders of the result are new, everything else is shared with the tree that it came from.
"""

from collections.abc import Iterable

from pier.archive.tree import FOLDER, OPAQUE, Inode


def stacked(roots: Iterable[Inode], whole: bool = True) -> Inode:
    """The root of the merged tree; roots: of the layers' trees, the bottom one first.

    whole: nothing is below the first one, so whiteouts and marks of opaque folders have nothing left to hide and are left out. Else they
    are kept, and made where two layers together hide what one alone did not: the result on top of what is below shows the same.
    """
    result = Inode(FOLDER)
    for root in roots:
        _lay(root, result, whole)
    return result


def _lay(over: Inode, result: Inode, whole: bool) -> None:
    pending = [(over, result)]
    while pending:
        source, target = pending.pop()
        assert source.children is not None and target.children is not None
        for name, child in source.children.items():
            below = target.children.get(name)
            if child.is_whiteout and whole:
                target.children.pop(name, None)
            elif child.kind != FOLDER:
                target.children[name] = child
            else:
                folder = _described(child)
                merges = below is not None and below.kind == FOLDER and not _is_opaque(child)
                if merges and below is not None:
                    folder.children = below.children
                if not whole and (_is_opaque(child) or (below is not None and (_is_opaque(below) or not merges))):
                    folder.set_xattr(OPAQUE, b"y")
                target.children[name] = folder
                pending.append((child, folder))


def _described(inode: Inode) -> Inode:
    """An empty folder with the attributes of another, but for the mark."""
    folder = Inode(FOLDER, inode.mode, inode.uid, inode.gid, inode.mtime, inode.mtime_ns)
    folder.xattrs = {name: value for name, value in (inode.xattrs or {}).items() if name != OPAQUE} or None
    return folder


def _is_opaque(inode: Inode) -> bool:
    return OPAQUE in (inode.xattrs or {})
