"""`python -m pier.cli.launcher PATH...`: install `pier` or `docker-credential-pier` at PATH for this interpreter and this copy of the package.

Packaging runs it after pip or uv (it replaces their console script) and compiles the bytecode. The interpreter is named by
its real path: the environment's symbolic link would be followed, and its pyvenv.cfg read, at every start.
"""

import compileall
import os
import sys
import sysconfig

SHEBANG_LIMIT_BYTES = 127
PROGRAMS = {"pier": "pier.cli.main", "docker-credential-pier": "pier.cli.credential_helper"}


def script(python: str, folders: list[str], directory: str, module: str = "pier.cli.main") -> str:
    """The program's text: `main` of a module, found in these folders.

    A direct #! line starts 1.5 ms sooner than a shell, and is taken where it can name the interpreter.
    """
    shebang = f"#!{python} -IS"
    if " " not in python and len(shebang) <= SHEBANG_LIMIT_BYTES:
        return f"{shebang}\nimport sys\nsys.path += {folders!r}\nimport pier.cli.quick\nfrom {module} import main\nmain()\n"
    with open(os.path.join(directory, "pier.sh"), encoding="utf-8") as file:
        return file.read().replace("@PYTHON@", python).replace("@FOLDERS@", repr(folders).replace("'", '"')).replace("@MODULE@", module)


def install(path: str) -> None:
    """Write the program that `path` is named after, whole or not at all, and compile the modules that it imports."""
    here = os.path.dirname(os.path.abspath(__file__))
    package = os.path.dirname(os.path.dirname(here))
    # the environment's own packages come last: only the commands that need one look there
    folders = dict.fromkeys([os.path.dirname(package), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    text = script(os.path.realpath(sys.executable), list(folders), here, PROGRAMS.get(os.path.basename(path), PROGRAMS["pier"]))
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(temporary, 0o755)
    os.rename(temporary, path)
    for folder in ("cli", "client"):
        compileall.compile_dir(os.path.join(package, folder), quiet=1)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m pier.cli.launcher PATH...")
    for path in sys.argv[1:]:
        install(path)
