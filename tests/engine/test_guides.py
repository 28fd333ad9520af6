"""Every example of docs/guide is run, in order, page by page, as a reader would: a shell with `pier` on its PATH, a registry on 127.0.0.1:5000.

    ```console
    $ pier images -q busybox        # a command
    2f1e...                         # what it prints; `...` stands for anything within a line or, alone, for any lines
    ```

A block that begins with ```console no-test (with a reason in the text beside it) is only shown.
"""

import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness import images
from tests.harness.commands import run
from tests.harness.engine import Engine
from tests.harness.registry import DockerRegistry, needs_docker_registry

GUIDE = Path(__file__).resolve().parents[2] / "docs/guide"
PAGES = sorted(path.name for path in GUIDE.glob("*.md"))
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Example:
    """A command line of a page and the lines that the page shows under it."""

    line: int
    command: str
    shown: tuple[str, ...]


def examples(text: str) -> Iterator[Example]:
    """All of a page."""
    for block in _BLOCK.finditer(text):
        start = text.count("\n", 0, block.start()) + 2
        command, shown, at = "", [], start
        for number, line in enumerate(block[1].splitlines(), start):
            if line.startswith("$ "):
                if command:
                    yield Example(at, command, tuple(shown))
                command, shown, at = line[2:], [], number
            elif command.endswith("\\"):
                command += "\n" + line
            else:
                shown.append(line)
        if command:
            yield Example(at, command, tuple(shown))


def fits(shown: tuple[str, ...], printed: list[str]) -> bool:
    """Whether what was printed is what the page shows; `...` alone stands for any number of lines."""
    if not shown:
        return True
    if shown[0] == "...":
        return any(fits(shown[1:], printed[skip:]) for skip in range(len(printed) + 1)) if len(shown) > 1 else True
    pattern = ".*".join(re.escape(part) for part in " ".join(shown[0].split()).split("..."))
    return bool(printed) and re.fullmatch(pattern, " ".join(printed[0].split())) is not None and fits(shown[1:], printed[1:])


@needs_docker_registry
@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page(page: str, tmp_path: Path) -> None:
    images.busybox_archive(tmp_path / "busybox.tar", "busybox:latest")
    with Engine() as engine, DockerRegistry(engine.namespaces, port=5000):
        engine.pier("load", "-q", "-i", str(tmp_path / "busybox.tar")).ok()
        env = {**engine.client_env, "PATH": f"{Path(sys.executable).parent}:{engine.client_env['PATH']}"}
        for example in examples((GUIDE / page).read_text()):
            done = run(engine.namespaces.argv("sh", "-c", f"cd {shlex.quote(str(tmp_path))}; {example.command}"), env, None, 60)
            printed = (done.err + done.out).splitlines()
            assert done.code == 0, f"docs/guide/{page}:{example.line}: {example.command}\n{done.out}{done.err}"
            assert fits(example.shown, printed), f"docs/guide/{page}:{example.line}: {example.command}\nshown: {example.shown}\nprinted: {printed}"


def test_a_page_that_lies_is_found() -> None:
    assert fits(("a...z", "...", "end"), ["a to z", "x", "y", "end"])
    assert not fits(("a...z", "end"), ["a to z", "x", "end"])
    assert not fits(("Digest: ...",), ["no"])
