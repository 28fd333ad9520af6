"""The registry of our own answers as the real one does, so that what passes with it is worth something. Plain http.client, nothing of Pier's."""

import base64
import http.client
import json
import re
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from tests.contract.registry.conftest import Registry
from tests.harness.registry import PASSWORD, USER, Basic, DockerRegistry, FakeRegistry, TokenServer, digest_of, index, needs_docker_registry, small
from tests.harness.registry_docker import ACCEPT

BLOB = b"0123456789" * 100


def ask(url: str, method: str, path: str, body: Any = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers in lower case, body."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        target = path.removeprefix(url)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, target, body, sent, encode_chunked="Transfer-Encoding" in sent)
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    finally:
        connection.close()


def upload(registry: Registry, repository: str, data: bytes) -> str:
    status, headers, _ = ask(registry.url, "POST", f"/v2/{repository}/blobs/uploads/")
    assert status == 202
    digest = digest_of(data)
    status, headers, said = ask(registry.url, "PUT", f"{headers['location']}&digest={digest}", data)
    assert status == 201, said
    assert headers["docker-content-digest"] == digest and headers["location"].endswith(f"/v2/{repository}/blobs/{digest}")
    return digest


def put(registry: Registry, repository: str, document: Any, *tags: str) -> str:
    return registry.add(repository, document, *tags) if isinstance(registry, FakeRegistry) else registry.push(repository, document, *tags)


def test_it_says_that_it_is_a_registry(registry: Registry) -> None:
    status, headers, _ = ask(registry.url, "GET", "/v2/")
    assert (status, headers["docker-distribution-api-version"]) == (200, "registry/2.0")


def test_manifests_by_tag_and_digest(registry: Registry) -> None:
    made = small()
    put(registry, "team/app", made, "latest")
    for reference in ("latest", made.digest):
        for method in ("GET", "HEAD"):
            status, headers, data = ask(registry.url, method, f"/v2/team/app/manifests/{reference}", Accept=ACCEPT)
            assert (status, headers["docker-content-digest"], headers["content-type"]) == (200, made.digest, made.media_type)
            assert (data, headers["content-length"]) == (made.data if method == "GET" else b"", str(len(made.data)))


def test_an_index_names_its_manifests(registry: Registry) -> None:
    both = index([(small("a"), "linux/amd64"), (small("b", docker=True), "linux/arm64/v8")])
    put(registry, "app", both, "all")
    assert json.loads(registry.manifest("app", "all")) == both.json
    assert registry.manifest("app", both.manifests[1].digest) == both.manifests[1].data


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v2/app/manifests/nope", "MANIFEST_UNKNOWN"),
        (f"/v2/app/manifests/sha256:{'0' * 64}", "MANIFEST_UNKNOWN"),
        (f"/v2/app/blobs/sha256:{'0' * 64}", "BLOB_UNKNOWN"),
        ("/v2/nobody/tags/list", "NAME_UNKNOWN"),
    ],
)
def test_what_is_not_there(registry: Registry, path: str, code: str) -> None:
    put(registry, "app", small(), "latest")
    status, _, data = ask(registry.url, "GET", path, Accept=ACCEPT)
    assert (status, json.loads(data)["errors"][0]["code"]) == (404, code)


def test_blobs_in_ranges(registry: Registry) -> None:
    path = f"/v2/app/blobs/{upload(registry, 'app', BLOB)}"
    status, headers, data = ask(registry.url, "HEAD", path)
    assert (status, data, headers["content-length"]) == (200, b"", "1000")
    status, headers, data = ask(registry.url, "GET", path, Range="bytes=10-19")
    assert (status, data, headers["content-range"]) == (206, BLOB[10:20], "bytes 10-19/1000")
    status, headers, data = ask(registry.url, "GET", path, Range="bytes=990-")
    assert (status, data, headers["content-range"]) == (206, BLOB[990:], "bytes 990-999/1000")
    assert ask(registry.url, "GET", path, Range="bytes=1000-")[0] == 416
    assert ask(registry.url, "GET", path)[2] == BLOB


def test_uploads_in_chunks_that_go_on_where_they_are(registry: Registry) -> None:
    _, headers, _ = ask(registry.url, "POST", "/v2/app/blobs/uploads/")
    status, headers, _ = ask(registry.url, "PATCH", headers["location"], BLOB[:400], Content_Range="0-399", Content_Type="application/octet-stream")
    assert (status, headers["range"]) == (202, "0-399")
    status, there, _ = ask(registry.url, "GET", headers["location"])
    assert (status, there["range"]) == (204, "0-399")
    where = there.get("location", headers["location"])
    status, headers, _ = ask(registry.url, "PATCH", where, iter([BLOB[400:600], BLOB[600:]]), Transfer_Encoding="chunked")
    assert (status, headers["range"]) == (202, "0-999")
    status, _, _ = ask(registry.url, "PUT", f"{headers['location']}&digest={digest_of(BLOB)}")
    assert status == 201
    assert ask(registry.url, "GET", f"/v2/app/blobs/{digest_of(BLOB)}")[2] == BLOB


def test_an_upload_of_other_bytes_is_refused(registry: Registry) -> None:
    _, headers, _ = ask(registry.url, "POST", "/v2/app/blobs/uploads/")
    status, _, data = ask(registry.url, "PUT", f"{headers['location']}&digest={digest_of(b'other')}", BLOB)
    assert (status, json.loads(data)["errors"][0]["code"]) == (400, "DIGEST_INVALID")


def test_blobs_are_mounted_from_where_they_are(registry: Registry) -> None:
    digest = upload(registry, "one", BLOB)
    assert ask(registry.url, "HEAD", f"/v2/two/blobs/{digest}")[0] == 404
    assert ask(registry.url, "POST", f"/v2/two/blobs/uploads/?mount={digest}&from=one")[0] == 201
    assert ask(registry.url, "GET", f"/v2/two/blobs/{digest}")[2] == BLOB
    status, headers, _ = ask(registry.url, "POST", f"/v2/two/blobs/uploads/?mount=sha256:{'0' * 64}&from=one")
    assert status == 202 and "location" in headers


def test_a_manifest_of_blobs_that_are_not_there_is_refused(registry: Registry) -> None:
    made = small()
    status, _, data = ask(registry.url, "PUT", "/v2/app/manifests/latest", made.data, Content_Type=made.media_type)
    assert (status, json.loads(data)["errors"][0]["code"]) == (400, "MANIFEST_BLOB_UNKNOWN")


def test_tags_and_repositories_by_pages(registry: Registry) -> None:
    for tag in ("c", "a", "b"):
        put(registry, "app", small(), tag)
    put(registry, "zoo", small(), "x")
    status, headers, data = ask(registry.url, "GET", "/v2/app/tags/list")
    assert (status, json.loads(data)["name"], sorted(json.loads(data)["tags"])) == (200, "app", ["a", "b", "c"])
    status, headers, data = ask(registry.url, "GET", "/v2/_catalog?n=1")
    assert json.loads(data) == {"repositories": ["app"]} and 'rel="next"' in headers["link"]
    target = headers["link"].partition("<")[2].partition(">")[0]
    assert json.loads(ask(registry.url, "GET", target)[2]) == {"repositories": ["zoo"]}


def test_manifests_are_deleted_by_digest(registry: Registry) -> None:
    made = small()
    put(registry, "app", made, "latest")
    assert ask(registry.url, "DELETE", f"/v2/app/manifests/{made.digest}")[0] == 202
    assert ask(registry.url, "GET", "/v2/app/manifests/latest", Accept=ACCEPT)[0] == 404


@pytest.mark.parametrize("kind", [pytest.param("fake"), pytest.param("docker", marks=needs_docker_registry)])
def test_basic_authentication(kind: str) -> None:
    right = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    with FakeRegistry(auth=Basic({USER: PASSWORD})) if kind == "fake" else DockerRegistry(htpasswd=True) as registry:
        status, headers, _ = ask(registry.url, "GET", "/v2/")
        assert status == 401 and headers["www-authenticate"].startswith('Basic realm="')
        assert ask(registry.url, "GET", "/v2/", Authorization=right)[0] == 200
        assert ask(registry.url, "GET", "/v2/", Authorization="Basic " + base64.b64encode(b"alice:wrong").decode())[0] == 401


@pytest.mark.parametrize("kind", [pytest.param("fake"), pytest.param("docker", marks=needs_docker_registry)])
def test_tokens(kind: str) -> None:
    basic = "Basic " + base64.b64encode(b"alice:secret").decode()
    with TokenServer({"alice": "secret"}) as tokens, FakeRegistry(auth=tokens) if kind == "fake" else DockerRegistry(tokens=tokens) as registry:
        put(registry, "app", small(), "latest")
        status, headers, _ = ask(registry.url, "GET", "/v2/app/manifests/latest", Accept=ACCEPT)
        challenge = headers["www-authenticate"]
        assert status == 401 and challenge == f'Bearer realm="{tokens.realm}",service="test registry",scope="repository:app:pull"'
        assert ask(registry.url, "GET", "/v2/")[1]["www-authenticate"] == f'Bearer realm="{tokens.realm}",service="test registry"'
        query = "/token?service=test+registry&scope=repository:app:pull"
        assert ask(tokens.url, "GET", query, Authorization="Basic " + base64.b64encode(b"alice:wrong").decode())[0] == 401
        nobody = json.loads(ask(tokens.url, "GET", query)[2])["token"]
        assert ask(registry.url, "GET", "/v2/app/manifests/latest", Accept=ACCEPT, Authorization=f"Bearer {nobody}")[0] == 401
        for document in (
            json.loads(ask(tokens.url, "GET", query, Authorization=basic)[2]),
            oauth(tokens, grant_type="password", username="alice", password="secret", access_type="offline"),
        ):
            bearer = f"Bearer {document['access_token']}"
            assert ask(registry.url, "GET", "/v2/app/manifests/latest", Accept=ACCEPT, Authorization=bearer)[0] == 200
            status, headers, _ = ask(registry.url, "POST", "/v2/app/blobs/uploads/", Authorization=bearer)
            assert status == 401 and re.search(
                r'scope="repository:app:(pull,push|push,pull)",error="insufficient_scope"', headers["www-authenticate"]
            )
        again = oauth(tokens, grant_type="refresh_token", refresh_token=document["refresh_token"])
        assert ask(registry.url, "GET", "/v2/", Authorization=f"Bearer {again['access_token']}")[0] == 200
        assert "error" in oauth(tokens, grant_type="password", username="alice", password="wrong")
        assert "error" in oauth(tokens, grant_type="refresh_token", refresh_token="wrong")


def oauth(tokens: TokenServer, **fields: str) -> Any:
    body = urlencode({"service": "test registry", "client_id": "tests", "scope": "repository:app:pull", **fields})
    return json.loads(ask(tokens.url, "POST", "/token", body, Content_Type="application/x-www-form-urlencoded")[2])
