"""`pier image copy`: an image from one registry to another, as it is: nothing is unpacked, no daemon is asked, digests stay."""

from pier.cli.remote_values import INSECURE, named
from pier.cli.session import Cli, CommandError
from pier.client.references import Name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pier.cli.flags import Options

USAGE = "[OPTIONS] SOURCE[:TAG|@DIGEST] TARGET[:TAG]"
SHORT = "Copy an image between registries"
LONG = """Copy an image between registries.
Every platform is copied, with attestations, signatures and whatever else refers to it, byte for byte. Only what the target lacks is sent; within
one registry layers are mounted."""
FLAGS = (
    ("all-platforms", "", "bool", "Copy an index with all its platforms; where false, the image for this machine alone (default true)"),
    INSECURE,
    ("platform", "", "string", 'Copy the image of this platform alone. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")'),
    ("quiet", "q", "bool", "Print only what was copied, with its digest"),
    ("referrers", "", "bool", "Copy what refers to the image, too: signatures, attestations, SBOMs (default true)"),
)
DEFAULTS = {"all-platforms": True, "referrers": True}
ARGS = (2, 2)
_PAUSE_S = 0.1  # between two sizes of one blob on the screen


def run(cli: Cli, options: "Options", args: list[str]) -> int:
    """Copy; shows what became of each blob and the digest at the end."""
    source, target = names(*args)
    single = options.text("platform") or not options.flag("all-platforms")
    if options.text("platform") and "all-platforms" in options.given and options.flag("all-platforms"):
        raise CommandError("conflicting options: cannot specify both --platform and --all-platforms")
    from pier.cli import remote
    from pier.cli.progress import show

    quiet = options.flag("quiet")
    with remote.errors():
        client = remote.registries((source.domain, target.domain) if options.flag("insecure") else ())
        where = remote.open_repository(cli, client, source)
        wanted = source.digest or source.tag
        if single:
            wanted = remote.transfer.for_platform(where, wanted, remote.wanted_platform(options.text("platform")))
        found = remote.transfer.tree(where, wanted)
        tag = target.tag or found.top.digest
        about = remote.transfer.referring(where, found) if options.flag("referrers") else []

        def send(progress: "Callable[[Any, str, int], None]") -> None:
            for name, tree in ((tag, found), *about):
                remote.send(cli, client, source, target, tree, name, progress)

        show(cli, _messages(source, send), 1, quiet)
    if quiet:
        cli.out(f"{target.familiar}@{found.top.digest}\n")
    else:
        cli.out(f"{len(about)} signatures, attestations or others that refer to it\n" if about else "")
        cli.out(f"{tag}: digest: {found.top.digest} size: {len(found.top.data)}\n")
    return 0


def names(source_text: str, target_text: str) -> tuple[Name, Name]:
    """What is copied, and to where: a target without a tag takes the source's, and none where the source is named by its digest alone.

    Raises CommandError.
    """
    source, target = named(source_text).with_default_tag(), named(target_text)
    if target.digest:
        raise CommandError(f"{target_text}: a target has no digest of its own: give its tag, or nothing")
    return source, target if target.tag else Name(target.domain, target.path, source.tag)


def _messages(source: Name, send: "Callable[[Callable[[Any, str, int], None]], object]") -> "Iterator[dict[str, Any]]":
    """`send` in a thread of its own, and what it tells as messages of Docker's kind. Raises what it raises."""
    import threading
    from queue import SimpleQueue
    from time import monotonic

    queue: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
    failures: list[BaseException] = []
    shown: dict[str, float] = {}

    def progress(blob: "Any", state: str, sent: int) -> None:
        now = monotonic()
        if state == "moving" and now - shown.get(blob.digest, 0.0) < _PAUSE_S:
            return
        shown[blob.digest] = now
        queue.put(message(source, blob.digest, state, sent, blob.size))

    def work() -> None:
        try:
            send(progress)
        except BaseException as error:
            failures.append(error)
        queue.put(None)

    threading.Thread(target=work, daemon=True).start()
    while (told := queue.get()) is not None:
        yield told
    if failures:
        raise failures[0]


def message(source: Name, digest: str, state: str, sent: int, size: int) -> "dict[str, Any]":
    """One blob's state (pier.registry.transfer) as a message for the screen."""
    detail = {"current": sent, "total": size} if state == "moving" else {}
    words = {"exists": "Layer already exists", "mounted": f"Mounted from {source.path}", "moving": "Copying", "done": "Copied"}
    return {"status": words[state], "progressDetail": detail, "id": digest.partition(":")[2][:12]}
