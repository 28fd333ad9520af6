"""What the manifest commands ask registries, in their own terms (manifest_store.py)."""

from pier.cli import manifest_store, remote
from pier.cli.session import Cli, CommandError
from pier.client import jsontext
from pier.client.references import Name
from pier.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pier.cli.manifest_store import Entry


class Manifests:
    """Manifests at registries; those of `names` may be without TLS, or with a certificate that nobody vouches for, where `insecure`.

    Methods raise CommandError; what is there is asked for once.
    """

    def __init__(self, cli: Cli, insecure: bool, names: "Sequence[Name]") -> None:
        self._cli = cli
        with remote.errors():
            self._client = remote.registries(tuple(name.domain for name in names) if insecure else ())
        self._fetched: dict[str, remote.Fetched] = {}

    def is_list(self, name: Name) -> bool:
        """Whether the name stands for a list."""
        return remote.is_index(self._get(name))

    def data(self, name: Name) -> bytes:
        """The bytes of what the name stands for."""
        return self._get(name).data

    def entry(self, name: Name) -> "Entry":
        """The manifest of a name, with the platform that its configuration says."""
        fetched = self._get(name)
        if remote.is_index(fetched):
            raise CommandError(f"{name.full} is a manifest list")
        return self._entry(name, name.full, fetched, {})

    def entries(self, name: Name) -> "list[Entry]":
        """The manifests of a list, with the platforms that the list says."""
        found = []
        for described in jsontext.decode(self.data(name)).get("manifests") or []:
            own = Name(name.domain, name.path, "", described["digest"])
            shown = f"{name.repository}:{name.tag}@{own.digest}" if name.tag else own.full
            found.append(self._entry(own, shown, self._get(own), described.get("platform") or {}))
        return found

    def _entry(self, name: Name, shown: str, fetched: "remote.Fetched", platform: "dict[str, Any]") -> "Entry":
        if not platform and not remote.is_index(fetched):
            with remote.errors():
                platform = remote.platform(self._repository(name), fetched)
        return manifest_store.entry(shown, fetched.media_type, fetched.digest, fetched.data, platform)

    def send(self, source: Name, listed: Name, entry: "Entry") -> str:
        """Have a manifest of another repository in the list's own, with all that it names. Its digest."""
        with remote.errors():
            fetched = remote.fetched(manifest_store.raw(entry), str(entry["Descriptor"].get("mediaType") or ""))
            return remote.send(self._cli, self._client, source, listed, remote.transfer.tree_of(fetched), fetched.digest)

    def put(self, listed: Name, data: bytes, media_type: str) -> str:
        """Store a list under its name. Its digest."""
        with remote.errors():
            return self._repository(listed, push=True).put_manifest(listed.tag or listed.digest, data, media_type)

    def _get(self, name: Name) -> "remote.Fetched":
        if name.full not in self._fetched:
            with remote.errors():
                try:
                    self._fetched[name.full] = self._repository(name).manifest(name.digest or name.tag)
                except NotFound:
                    raise CommandError(f"no such manifest: {name.full}") from None
        return self._fetched[name.full]

    def _repository(self, name: Name, push: bool = False) -> "remote.Repository":
        return remote.open_repository(self._cli, self._client, name, push)
