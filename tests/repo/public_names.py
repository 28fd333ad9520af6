"""The public surface: what others may import from Pier, read from the sources without importing them.

Public is what a package's `__init__` names in `__all__`, and all of pier.client and pier.errors that has no underscore.
`python -m tests.repo.public_names` writes public_names.txt anew.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("public_names.txt")
OPEN_MODULES = ("pier/errors.py", "pier/client/__init__.py")


def public_names() -> list[str]:
    """Dotted names, sorted: pier.errors.NotFound, ..."""
    names = set()
    for path in sorted((ROOT / "src/pier").rglob("*.py")):
        relative = path.relative_to(ROOT / "src")
        module = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
        tree = ast.parse(path.read_text())
        if path.name == "__init__.py":
            names.update(f"{module}.{name}" for name in exported(tree))
        if str(relative) in OPEN_MODULES:
            defined = [n.name for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)]
            names.update(f"{module}.{name}" for name in defined if name[0] != "_")
    return sorted(names)


def exported(tree: ast.Module) -> list[str]:
    """The strings of a module's `__all__`."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return list(ast.literal_eval(node.value))
    return []


if __name__ == "__main__":
    LIST.write_text("".join(f"{name}\n" for name in public_names()))
    print(f"{LIST}: {len(public_names())} names")
