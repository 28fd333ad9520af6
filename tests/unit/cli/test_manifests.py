"""manifest create, annotate, inspect, push, rm and image copy, delete, referrers, tags: whole command lines against
registries on loopback, without a daemon."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pier.cli import manifest_list, manifest_store
from tests.harness.registry import Basic, FakeRegistry, TokenServer, index, small
from tests.harness.terminal import Terminal

from .command import call, program

AMD, ARM = small("amd", docker=True), small("arm", docker=True, platform="linux/arm64/v8")
OCI = small("oci")


class Setting:
    """A registry with three images, and a configuration folder."""

    def __init__(self, path: Path, registry: FakeRegistry) -> None:
        self.path, self.registry, self.host = path, registry, registry.name
        self.env = {"DOCKER_CONFIG": str(path / "config"), "DOCKER_HOST": "unix:///nonexistent/sock"}
        every = index([(AMD, "linux/amd64"), (ARM, "linux/arm64/v8")], docker=True)
        for name, document in (("amd", AMD), ("arm", ARM), ("oci", OCI), ("all", every)):
            registry.add(f"t/{name}", document, "1")

    def __call__(self, *words: str, **env: str) -> tuple[int, str, str]:
        """A command; `@x` stands for an image of the registry."""
        return call(None, *[word.replace("@", f"{self.host}/t/", 1) if word.startswith("@") else word for word in words], **self.env, **env)

    def ok(self, *words: str) -> str:
        status, out, err = self(*words)
        assert (status, err) == (0, ""), err
        return out


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Setting]:
    with FakeRegistry() as registry:
        yield Setting(tmp_path, registry)


def test_from_two_images_to_a_list_on_the_registry(at: Setting) -> None:
    assert at.ok("manifest", "create", "@both:1", "@amd:1", "@arm:1") == f"Created manifest list {at.host}/t/both:1\n"
    shown = at.ok("manifest", "inspect", "@both:1")
    pushed = [f"Pushed ref {at.host}/t/both@{image.digest} with digest: {image.digest}\n" for image in (AMD, ARM)]
    out = at.ok("manifest", "push", "--purge", "@both:1")
    assert out.startswith("".join(pushed))
    data = at.registry.manifest("t/both", "1")
    amd, arm = {"architecture": "amd64", "os": "linux"}, {"architecture": "arm64", "os": "linux", "variant": "v8"}
    assert data.decode() + "\n" == shown and json.loads(data) == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json",
        "manifests": [AMD.descriptor(platform=amd), ARM.descriptor(platform=arm)],
    }
    assert out.splitlines()[-1] == at.registry.repositories["t/both"].tags["1"]
    assert at("manifest", "push", "@both:1") == (1, "", f"No such manifest: {at.host}/t/both:1\n")
    assert os.listdir(at.path / "config/manifests") == []


def test_what_the_repository_has_is_not_sent(at: Setting) -> None:
    at.registry.add("t/both", AMD, "amd")
    at.ok("manifest", "create", "@both:1", "@both:amd", "@arm:1")
    out = at.ok("manifest", "push", "@both:1")
    assert AMD.digest not in out and ARM.digest in out


def test_a_registry_that_mounts_nothing_gets_the_blobs(at: Setting) -> None:
    at.registry.options.mounts = False
    at.ok("manifest", "create", "@both:1", "@amd:1")
    at.ok("manifest", "push", "@both:1")
    assert set(AMD.layers) <= at.registry.repositories["t/both"].blobs


def test_the_family_of_the_first(at: Setting) -> None:
    at.ok("manifest", "create", "@list:1", "@oci:1")
    assert json.loads(at.ok("manifest", "inspect", "@list:1"))["mediaType"] == "application/vnd.oci.image.index.v1+json"


def test_amend(at: Setting) -> None:
    at.ok("manifest", "create", "@both:1", "@amd:1")
    refused = "refusing to amend an existing manifest list with no --amend flag\n"
    assert at("manifest", "create", "@both:1", "@arm:1") == (1, "", refused)
    at.ok("manifest", "create", "--amend", "@both:1", "@arm:1")
    assert len(json.loads(at.ok("manifest", "inspect", "@both:1"))["manifests"]) == 2


def test_nothing_is_made_where_one_is_missing(at: Setting) -> None:
    assert at("manifest", "create", "@both:1", "@amd:1", "@none:1") == (1, "", f"no such manifest: {at.host}/t/none:1\n")
    assert at("manifest", "create", "@both:1", "@all:1") == (1, "", f"{at.host}/t/all:1 is a manifest list\n")
    assert not (at.path / "config/manifests").exists()


def test_annotate(at: Setting) -> None:
    at.ok("manifest", "create", "@both:1", "@amd:1", "@arm:1")
    words = ["--arch", "arm", "--os", "linux", "--variant", "v7", "--os-version", "1.2", "--os-features", "x,y", "--os-features", "x"]
    assert at.ok("manifest", "annotate", "@both:1", "@arm:1", *words) == ""
    platform = json.loads(at.ok("manifest", "inspect", "@both:1"))["manifests"][1]["platform"]
    assert platform == {"architecture": "arm", "os": "linux", "os.version": "1.2", "os.features": ["x", "y"], "variant": "v7"}
    bad = "manifest entry for image has unsupported os/arch combination: bogus/\n"
    assert at("manifest", "annotate", "@both:1", "@arm:1", "--os", "bogus") == (1, "", bad)
    assert at("manifest", "annotate", "@both:1", "@oci:1", "--os", "linux") == (
        1, "", f"manifest for image {at.host}/t/oci:1 does not exist in {at.host}/t/both:1\n"
    )  # fmt: skip
    assert json.loads(at.ok("manifest", "inspect", "@both:1"))["manifests"][1]["platform"] == platform


def test_inspect(at: Setting) -> None:
    assert json.loads(at.ok("manifest", "inspect", "@amd:1")) == AMD.json
    assert json.loads(at.ok("manifest", "inspect", "@all:1")) == json.loads(at.registry.manifest("t/all", "1"))
    one = json.loads(at.ok("manifest", "inspect", "-v", "@arm:1"))
    assert (one["Ref"], one["SchemaV2Manifest"]) == (f"{at.host}/t/arm:1", ARM.json)
    assert one["Descriptor"] == {
        "mediaType": ARM.media_type, "digest": ARM.digest, "size": len(ARM.data),
        "platform": {"architecture": "arm64", "os": "linux", "variant": "v8"},
    }  # fmt: skip
    assert "OCIManifest" in json.loads(at.ok("manifest", "inspect", "-v", "@oci:1"))
    several = json.loads(at.ok("manifest", "inspect", "-v", "@all:1"))
    assert [entry["Ref"] for entry in several] == [f"{at.host}/t/all:1@{image.digest}" for image in (AMD, ARM)]
    at.ok("manifest", "create", "@both:1", "@amd:1")
    assert json.loads(at.ok("manifest", "inspect", "@both:1", "@amd:1")) == AMD.json
    assert at("manifest", "inspect", "@both:1", "@arm:1") == (1, "", f"No such manifest: {at.host}/t/arm:1\n")
    assert at("manifest", "inspect", "@none:1") == (1, "", f"no such manifest: {at.host}/t/none:1\n")


def test_rm(at: Setting) -> None:
    at.ok("manifest", "create", "@both:1", "@amd:1")
    missing = "".join(f"No such manifest: {at.host}/t/{name}:1\n" for name in ("no", "none"))
    assert at("manifest", "rm", "@both:1", "@no:1", "@none:1") == (1, "", missing)
    assert at("manifest", "inspect", "@both:1")[0] == 1


@pytest.mark.parametrize(
    ("words", "err"),
    [
        (["create", "L:3", "x"], "error parsing name for manifest list L:3: invalid reference format: repository name (library/L) must be"),
        (["create", "l:3", "X"], "invalid reference format: repository name (library/X) must be lowercase\n"),
        (["push", "l:3"], "No such manifest: docker.io/library/l:3\n"),
        (["rm", "X"], "invalid reference format: repository name (library/X) must be lowercase\n"),
        (["create", "l"], "pier: 'pier manifest create' requires at least 2 arguments\n"),
        (["inspect", "a", "b", "c"], "pier: 'pier manifest inspect' requires at least 1 and at most 2 arguments\n"),
    ],
)
def test_refusals(at: Setting, words: list[str], err: str) -> None:
    status, out, said = at("manifest", *words)
    assert (status, out) == (1, "") and said.startswith(err)


def test_sources_of_another_registry(at: Setting) -> None:
    at.ok("manifest", "create", "other.example/list:1", "@amd:1")
    text = f"cannot use source images from a different registry than the target image: {at.host} != other.example\n"
    assert at("manifest", "push", "other.example/list:1") == (1, "", text)


def test_the_files_are_dockers(at: Setting) -> None:
    at.ok("manifest", "create", "@both:1", "@amd:1", f"@oci@{OCI.digest}")
    folder = at.path / "config/manifests" / f"{at.host.replace(':', '-')}_t_both-1"
    files = sorted(os.listdir(folder))
    assert files == [f"{at.host.replace(':', '-')}_t_amd-1", f"{at.host.replace(':', '-')}_t_oci@{OCI.digest.replace(':', '-')}"]
    first = json.loads((folder / files[0]).read_text())
    assert list(first) == ["Ref", "Descriptor", "Raw", "SchemaV2Manifest"]
    assert list(first["Descriptor"]) == ["mediaType", "digest", "size", "platform"]


def test_a_file_that_is_damaged_is_named(at: Setting) -> None:
    at.ok("manifest", "create", "@both:1", "@amd:1")
    (file,) = (at.path / "config/manifests").glob("*/*")
    for text in ("{", "[]", '{"Ref": "x"}', '{"Ref": "x", "Descriptor": {"digest": "sha256:x"}, "Raw": "é"}'):
        file.write_text(text)
        assert at("manifest", "inspect", "@both:1") == (1, "", f"{file}: this is no manifest of a list: remove the list and make it again\n")


def test_lists_of_pure_values() -> None:
    assert manifest_list.is_known("linux", "loong64") and not manifest_list.is_known("linux", "bogus") and not manifest_list.is_known("", "amd64")
    entry: dict[str, Any] = {"Descriptor": {"mediaType": "m", "digest": "d", "size": 1}}
    assert json.loads(manifest_list.encode([entry]))["manifests"] == [
        {"mediaType": "m", "size": 1, "digest": "d", "platform": {"architecture": "", "os": ""}}
    ]
    assert manifest_store.named("app").full == "docker.io/library/app:latest"


# image copy and image tags


def test_copy(at: Setting) -> None:
    with FakeRegistry(auth=Basic({"alice": "secret"})) as two:
        status, out, err = at("image", "copy", "@all:1", f"{two.name}/all")
        assert (status, out) == (1, "") and err.endswith("no basic auth credentials\n") and two.name in err
        assert at("login", "-u", "alice", "-p", "secret", two.name)[0] == 0
        out = at.ok("image", "copy", "@all:1", f"{two.name}/all")
        data = at.registry.manifest("t/all", "1")
        assert two.manifest("all", "1") == data
        digest = two.repositories["all"].tags["1"]
        assert out.splitlines()[-1] == f"1: digest: {digest} size: {len(data)}" and sum(one.endswith(": Copied") for one in out.splitlines()) == 4
        assert at.ok("image", "copy", "-q", "@all:1", f"{two.name}/all:2") == f"{two.name}/all:2@{digest}\n"
        at.ok("image", "copy", "--platform", "linux/arm64", "@all:1", f"{two.name}/arm")
        assert two.manifest("arm", "1") == ARM.data
        at.ok("image", "copy", "--all-platforms=false", "@all:1", f"{two.name}/here:x")
        assert two.manifest("here", "x") in (AMD.data, ARM.data)
        assert at.ok("image", "tags", f"{two.name}/all") == "1\n2\n" and at.ok("image", "tags", "--limit", "1", f"{two.name}/all") == "1\n"
        assert not any("secret" in text for text in at.registry.texts())


def test_copy_by_digest_and_within_a_registry(at: Setting) -> None:
    out = at.ok("image", "copy", f"@amd@{AMD.digest}", "@copy")
    assert "Mounted from t/amd" in out and out.splitlines()[-1].startswith(f"{AMD.digest}: digest: ")
    assert at.registry.repositories["t/copy"].tags == {} and AMD.digest in at.registry.repositories["t/copy"].manifests


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["copy", "X", "y"], "invalid reference format"),
        (["copy", "@all:1", "Y"], "invalid reference format"),
        (["copy", "@all:1", f"y@{AMD.digest}"], "a target has no digest of its own"),
        (["copy", "--platform", "linux/s390x", "@all:1", "@y"], "no image for linux/s390x; there are: linux/amd64, linux/arm64"),
        (["copy", "--platform", "bogus", "@all:1", "@y"], '"bogus": unknown operating system or architecture'),
        (["copy", "--platform", "linux/arm64", "--all-platforms", "@all:1", "@y"], "cannot specify both --platform and --all-platforms"),
        (["copy", "@none:1", "@y"], "manifest unknown"),
        (["tags", "@none"], "name unknown: repository name not known to registry"),
        (["tags", "@all:1"], "give the repository alone: "),
        (["tags", "--limit", "-1", "@all"], "--limit -1: it is a number of tags"),
    ],
)
def test_copy_and_tags_refuse(at: Setting, words: list[str], text: str) -> None:
    status, out, err = at("image", *words)
    assert (status, out) == (1, "") and text in err and "Traceback" not in err
    assert "t/y" not in at.registry.repositories
    if words[-2].startswith("@none") or words[-1] == "@none":
        assert at.host in err, "an error names the registry"


# image referrers and image delete


@pytest.mark.parametrize("listed", [True, False], ids=["by the registry", "by a tag"])
def test_referrers_and_what_is_deleted(at: Setting, listed: bool) -> None:
    at.registry.options.referrers = listed
    signature, bill = (small(kind, subject=OCI, artifact_type=f"application/x.{kind}") for kind in ("signature", "sbom"))
    assert at.ok("image", "referrers", "-q", "@oci:1") == ""
    for made in (signature, bill):
        at.registry.add("t/oci", made)
    if not listed:
        entries = [made.descriptor(artifactType=f"application/x.{kind}") for made, kind in ((signature, "signature"), (bill, "sbom"))]
        at.registry.add("t/oci", index([]).changed(manifests=entries), OCI.digest.replace(":", "-"))
    rows = at.ok("image", "referrers", "@oci:1").splitlines()
    assert rows[0].split("  ")[0] == "DIGEST" and sorted(row.split()[:2] for row in rows[1:]) == sorted(
        [[signature.digest, "application/x.signature"], [bill.digest, "application/x.sbom"]]
    )
    assert at.ok("image", "referrers", "-q", "--type", "application/x.sbom", f"@oci@{OCI.digest}") == f"{bill.digest}\n"
    assert at("image", "delete", f"@oci@{bill.digest}")[1].endswith("Are you sure you want to continue? [y/N] ")
    assert at.ok("image", "delete", "-f", f"@oci@{bill.digest}") == f"Deleted: {at.host}/t/oci@{bill.digest}\n"
    assert at.ok("image", "referrers", "-q", "@oci:1") == f"{signature.digest}\n"
    assert at.ok("image", "delete", "-f", "@amd:1") == f"Deleted: {at.host}/t/amd:1\n" and not at.registry.repositories["t/amd"].tags


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["referrers", "@none:1"], "its registry has no image of that name"),
        (["delete", "-f", "@amd"], "say what is to go"),
        (["delete", "-f", "@amd:none"], "manifest unknown"),
        (["delete", "-f", "X"], "invalid reference format"),
    ],
)
def test_referrers_and_delete_refuse(at: Setting, words: list[str], text: str) -> None:
    status, out, err = at("image", *words)
    assert (status, out) == (1, "") and text in err and "Traceback" not in err
    assert at.registry.repositories["t/amd"].tags == {"1": AMD.digest}


def test_credentials_go_to_their_registry_only(tmp_path: Path) -> None:
    with TokenServer({"alice": "s3cret"}) as tokens, FakeRegistry(auth=tokens) as one, FakeRegistry() as two:
        one.add("app", small(), "1")
        env = {"DOCKER_CONFIG": str(tmp_path), "DOCKER_HOST": "unix:///nonexistent/sock"}
        assert call(None, "login", "-u", "alice", "--password-stdin", one.name, stdin=b"s3cret", **env)[0] == 0
        assert call(None, "image", "copy", f"{one.name}/app:1", f"{two.name}/app", **env)[0] == 0
        secrets = [*tokens.refresh, *tokens.issued, "s3cret", "Bearer", "authorization"]
        assert not [text for text in two.texts() if any(secret in text for secret in secrets)]


def test_copy_on_a_terminal_and_control_c(at: Setting) -> None:
    big = small("big", size=1_000_000)
    at.registry.add("t/big", big, "1")
    at.registry.fault(f"GET .*/blobs/{big.layers[0]}", rate=200_000)
    with FakeRegistry() as two:
        with Terminal([*program(), "image", "copy", f"{at.host}/t/big:1", f"{two.name}/big"], {**os.environ, **at.env}, cols=150) as terminal:
            terminal.expect(f"{big.layers[0][7:19]}: Copying [")
            terminal.type("\x03")
            assert terminal.wait() == 130
        assert "1" not in getattr(two.repositories.get("big"), "tags", {})


def test_names_of_a_copy() -> None:
    from pier.cli.image_copy import names

    digest = "sha256:" + "0" * 64
    pairs = {
        ("a:1", "r.x/b"): ("1", "1"), ("a", "r.x/b"): ("latest", "latest"), ("a:1", "r.x/b:2"): ("1", "2"),
        (f"a@{digest}", "r.x/b"): ("", ""), (f"a:1@{digest}", "r.x/b"): ("1", "1"),
    }  # fmt: skip
    for words, (source, target) in pairs.items():
        assert (names(*words)[0].tag, names(*words)[1].tag) == (source, target), words
