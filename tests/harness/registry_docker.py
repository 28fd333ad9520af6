"""The real registry of the peers' folder (docker-registry 2.8), run here with a configuration of a test's own.

with DockerRegistry(inside=engine.namespaces) as registry:
    name = registry.push("library/app", small(), "latest")        # "127.0.0.1:PORT/library/app:latest"
"""

import base64
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from .commands import eventually
from .reference import ROOT
from .registry_images import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Document, Tree
from .registry_server import Inside, in_network, listen
from .registry_tls import Authority
from .registry_tokens import ISSUER, TokenServer

PROGRAM = ROOT / "usr/bin/docker-registry"
needs_docker_registry = pytest.mark.skipif(not os.access(PROGRAM, os.X_OK), reason=f"no {PROGRAM}: `../shared/tools/peers make` makes it")
ACCEPT = ", ".join((OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST))

USER, PASSWORD = "alice", "secret"
HTPASSWD = f"{USER}:$2b$04$4q6PjLIbyLR5aaHQWCy/w.78dyTRBbNSX8/kpiGHQoL9WL6PK7T8e\n"  # bcrypt, the only kind it takes


class DockerRegistry:
    """A docker-registry on loopback of this machine, or of the namespace `inside`; plain HTTP unless an `authority` signs its certificate.

    `htpasswd`: only USER with PASSWORD. `tokens`: only with tokens of that server. `proxy`: it is a cache of the registry at that URL.
    `clients`: it wants a certificate of the authority from its clients. `more` goes into its configuration as it is.
    """

    def __init__(
        self,
        inside: Inside | None = None,
        *,
        authority: Authority | None = None,
        clients: bool = False,
        htpasswd: bool = False,
        tokens: TokenServer | None = None,
        proxy: str = "",
        address: str = "127.0.0.1",
        port: int = 0,
        **more: Any,
    ) -> None:
        self.inside, self.authority, self.tokens, self.htpasswd, self.clients = inside, authority, tokens, htpasswd, clients
        self.folder = Path(tempfile.mkdtemp(prefix="pier-registry-", dir="/tmp"))
        self.address, self.port = address, port or _free_port(inside, address)
        config: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "data")}, "delete": {"enabled": True}},
            "http": {"addr": self.name, "secret": "of tests", "tls": self._tls()} if authority else {"addr": self.name, "secret": "of tests"},
            "validation": {"manifests": {"urls": {"allow": [".*"]}}},
            **more,
        }
        if htpasswd:
            (self.folder / "htpasswd").write_text(HTPASSWD)
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(self.folder / "htpasswd")}}
        if tokens:
            config["auth"] = {"token": {"realm": tokens.realm, "service": tokens.service, "issuer": ISSUER, "rootcertbundle": str(tokens.bundle)}}
        if proxy:
            config["proxy"] = {"remoteurl": proxy}
        (self.folder / "config.yml").write_text(json.dumps(config))
        self._process: subprocess.Popen[bytes] | None = None

    def _tls(self) -> dict[str, Any]:
        assert self.authority is not None
        certificate, key = self.authority.pair()
        found: dict[str, Any] = {"certificate": str(certificate), "key": str(key)}
        return found | ({"clientcas": [str(self.authority.file)]} if self.clients else {})

    @property
    def name(self) -> str:
        """HOST:PORT, as images name it."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.authority else 'http'}://{self.name}"

    def __enter__(self) -> "DockerRegistry":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Start it, again with what it holds, and wait until it answers."""
        enter = ["nsenter", "--target", str(self.inside.pid), "--net", "--"] if self.inside else []
        with (self.folder / "log").open("ab") as log:
            argv = [*enter, str(PROGRAM), "serve", str(self.folder / "config.yml")]
            env = {"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"}
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True)
        eventually(self._answers, 20.0, "docker-registry answers")

    def _answers(self) -> bool:
        assert self._process is not None and self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
        try:
            return self.request("GET", "/v2/")[0] in (200, 401)
        except OSError:
            return False

    def stop(self) -> None:
        """End it; what it holds stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    # -- a client that has nothing of Pier's

    def request(self, method: str, path: str, body: bytes = b"", repository: str = "", **headers: str) -> tuple[int, dict[str, str], bytes]:
        """One request with all rights: status, headers in lower case, body."""
        connection = self._connection()
        try:
            connection.request(method, path, body, {**self._authorization(repository), **{k.replace("_", "-"): v for k, v in headers.items()}})
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        made = http.client.HTTPConnection(self.address, self.port, timeout=60)
        sock: socket.socket = in_network(self.inside, lambda: socket.create_connection((self.address, self.port), 60))
        if self.authority:
            context = self.authority.client()
            if self.clients:
                context.load_cert_chain(*self.authority.pair())
            sock = _wrapped(context, sock, self.address)
        made.sock = sock
        return made

    def _authorization(self, repository: str) -> dict[str, str]:
        if self.htpasswd:
            return {"Authorization": "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
        if self.tokens:
            granted = {repository: {"pull", "push", "delete"}} if repository else {}
            return {"Authorization": f"Bearer {self.tokens.sign('the test', self.tokens.service, granted)}"}
        return {}

    def push(self, repository: str, document: Document, *tags: str) -> str:
        """Put an image or index in with all that it needs. Returns the reference by which it is pulled."""
        tree = Tree.of(document)
        for digest, blob in tree.blobs.items():
            if self.request("HEAD", f"/v2/{repository}/blobs/{digest}", repository=repository)[0] != 200:
                status, headers, said = self.request("POST", f"/v2/{repository}/blobs/uploads/", repository=repository)
                assert status == 202, said
                where = headers["location"].removeprefix(self.url)
                status, _, said = self.request(
                    "PUT", f"{where}&digest={digest}", blob, repository=repository, Content_Type="application/octet-stream"
                )
                assert status == 201, said
        references = [*((digest, member) for digest, member in tree.documents.items()), *((tag, document) for tag in tags)]
        for reference, member in references:
            path = f"/v2/{repository}/manifests/{reference}"
            status, _, said = self.request("PUT", path, member.data, repository=repository, Content_Type=member.media_type)
            assert status == 201, said
        return f"{self.name}/{repository}" + (f":{tags[0]}" if tags else f"@{document.digest}")

    def manifest(self, repository: str, reference: str) -> bytes:
        """What is there under a tag or digest; KeyError."""
        status, _, data = self.request("GET", f"/v2/{repository}/manifests/{reference}", repository=repository, Accept=ACCEPT)
        if status != 200:
            raise KeyError(f"{repository}:{reference}: {status}")
        return data


def _wrapped(context: ssl.SSLContext, sock: socket.socket, name: str) -> ssl.SSLSocket:
    return context.wrap_socket(sock, server_hostname=name)


def _free_port(inside: Inside | None, address: str) -> int:
    with listen(inside, address) as sock:
        return int(sock.getsockname()[1])
