"""Certificates for test registries: an authority of our own, certificates for servers and clients, and files of them."""

import ssl
from pathlib import Path

import trustme

NAMES = ("127.0.0.1", "::1", "localhost", "reg.example.com")


class Authority:
    """A certificate authority that nobody knows but who is told."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._ca, self._made = folder, trustme.CA(), 0
        self.file = folder / "ca.crt"
        self._ca.cert_pem.write_to_path(self.file)

    def pair(self, *names: str) -> tuple[Path, Path]:
        """Files of a certificate for these names and of its key."""
        self._made += 1
        cert, key = self.folder / f"{self._made}.cert", self.folder / f"{self._made}.key"
        made = self._ca.issue_cert(*(names or NAMES))
        cert.write_bytes(b"".join(pem.bytes() for pem in made.cert_chain_pems))
        made.private_key_pem.write_to_path(key)
        return cert, key

    def server(self, *names: str, clients: bool = False) -> ssl.SSLContext:
        """A server's context; `clients`: it wants a certificate of this authority from them."""
        made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        made.load_cert_chain(*self.pair(*names))
        if clients:
            made.verify_mode = ssl.CERT_REQUIRED
            made.load_verify_locations(self.file)
        return made

    def client(self) -> ssl.SSLContext:
        """The context of a client that trusts this authority alone."""
        return ssl.create_default_context(cafile=self.file)
