"""Registries for tests, and what stands around them: the one door to registry_*.py.

    FakeRegistry    in memory, with a script of faults and a record of what was asked; complete enough for pull and push
    DockerRegistry  the real one (skipped where it is not: `needs_docker_registry`)
    TokenServer     bearer tokens and OAuth2 for both;  Basic  user and password for FakeRegistry
    BlobHost        where a registry may redirect to;  HttpProxy, SocksProxy
    Authority       certificates;  image, index, small, busybox, Document  what goes in

All take `inside=engine.namespaces` to be on the loopback of an engine under test; without it they are on this machine's.
"""

from .registry_docker import PASSWORD, USER, DockerRegistry, needs_docker_registry
from .registry_fake import BlobHost, FakeRegistry, Options
from .registry_images import Document, attestation, busybox, digest_of, image, index, small
from .registry_proxies import HttpProxy, SocksProxy
from .registry_server import Answer, Fault, Request, Server
from .registry_tls import Authority
from .registry_tokens import Basic, TokenServer

__all__ = [
    "PASSWORD", "USER", "Answer", "Authority", "Basic", "BlobHost", "DockerRegistry", "Document", "FakeRegistry", "Fault", "HttpProxy", "Options",
    "Request", "Server", "SocksProxy", "TokenServer", "attestation", "busybox", "digest_of", "image", "index", "needs_docker_registry", "small",
]  # fmt: skip
