"""`pier image push ssh://HOST/NAME`: an image goes to the daemon of another machine, and of its layers those that are missing there.

Both sides speak Docker's API: what is there is found by inspecting the images there, newest first, till all layers are found; then the archive of
`GET /images/get` without those goes into the other side's load, which takes a layer that it has from itself.
"""

from pier.cli.progress import show
from pier.cli.session import Cli, CommandError
from pier.client import ssh
from pier.client.references import parse
from pier.client.session import ApiError, Client, segment, stream_documents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.client.references import Name


def push(cli: Cli, target: str, platform: str, quiet: bool) -> int:
    """Send; with `quiet` prints the name at the end. Raises CommandError for an address that is none, ApiError of either daemon."""
    name = image_of(target)
    local = cli.client()
    images = _images(local, name)
    remote = Client(f"ssh://{target.partition('://')[2].partition('/')[0]}")
    wanted = {layer for image in images for layer in _layers(local, image)}
    there = layers_there(remote, wanted)
    if not quiet:
        cli.out(f"The push goes to the daemon at {remote.host}\n{len(there)} of {len(wanted)} layers are there\n")
    params = [("names", name.familiar), *(("without", layer) for layer in sorted(there)), *([("platform", platform)] if platform else [])]
    archive = local.open("GET", "/images/get", params)
    answer = remote.open("POST", "/images/load", [("quiet", "1")], raw=archive.chunks(), headers=[("Content-Type", "application/x-tar")])
    lines = stream_documents(answer.chunks())
    show(cli, (line for line in lines if "error" in line) if quiet else lines, 1, quiet)
    remote.close()
    if quiet:
        cli.out(f"{name.familiar}\n")
    return 0


def image_of(target: str) -> "Name":
    """The image that `ssh://[USER@]HOST[:PORT]/NAME[:TAG]` names. Raises CommandError."""
    try:
        address = ssh.parse(target)
        if not address.path:
            raise ValueError(f"{target}: no image is named: ssh://[USER@]HOST[:PORT]/NAME[:TAG]")
        name = parse(address.path)
    except ValueError as error:
        raise CommandError(str(error)) from None
    if name.digest:
        raise CommandError("cannot push a digest reference")
    return name.with_default_tag()


def layers_there(remote: Client, wanted: "set[str]") -> "set[str]":
    """Those of the layers (diff IDs) that images of a daemon have."""
    found: set[str] = set()
    for image in remote.get("/images/json"):
        if found == wanted:
            break
        try:
            found.update(wanted.intersection(_layers(remote, image["Id"])))
        except ApiError as error:
            if error.status != 404:  # removed meanwhile
                raise
    return found


def _images(local: Client, name: "Name") -> list[str]:
    """The IDs of the images that a name means here: one for each platform. Raises ApiError where there is none."""
    one = local.get(f"/images/{segment(name.familiar)}/json")["Id"]
    return [one, *(image["Id"] for image in local.get("/images/json") if name.familiar in (image.get("RepoTags") or ()) and image["Id"] != one)]


def _layers(client: Client, image: str) -> list[str]:
    return client.get(f"/images/{segment(image)}/json")["RootFS"].get("Layers") or []
