"""What stands behind names: manifests that are here and those that are not, sizes, and what `system df` is told."""

import asyncio
import json
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pier.errors import Invalid
from pier.oci import digest as digests
from pier.oci import platform as platforms
from pier.oci.descriptor import OCI_INDEX, OCI_MANIFEST
from tests.unit.images.fakes import HOST, World, diff_id, manifest_of, parsed, world

Story = Callable[[World], Coroutine[Any, Any, None]]
OTHER, THIRD = {"architecture": "s390x", "os": "linux"}, {"architecture": "riscv64", "os": "linux"}
here, there, third = parsed("here", ["base", "a"]), parsed("there", ["base", "b"], platform=OTHER), parsed("third", ["c"], platform=THIRD)
HERE, THERE, ELSEWHERE = here["config_digest"], there["config_digest"], third["config_digest"]
LAYER = 4096  # what a layer of the fakes takes on the disk


def described(identity: str, platform: dict[str, str] | None, **annotations: str) -> dict[str, Any]:
    data = manifest_of(identity)
    more = {"annotations": {name.replace("_", "."): value for name, value in annotations.items()}} if annotations else {}
    return {"mediaType": OCI_MANIFEST, "digest": digests.of(data), "size": len(data), **more, **({"platform": platform} if platform else {})}


STATEMENT = described("sha256:" + "5" * 64, {"architecture": "unknown", "os": "unknown"}, vnd_docker_reference_type="attestation-manifest",
                      vnd_docker_reference_digest=digests.of(manifest_of(HERE)))  # fmt: skip
ENTRIES = [described(HERE, HOST), described(THERE, OTHER), described(ELSEWHERE, THIRD), STATEMENT, described("sha256:" + "6" * 64, None)]
INDEX = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": ENTRIES}).encode()
DIGEST = digests.of(INDEX)


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Story], None]:
    def go(story: Story) -> None:
        with world(tmp_path) as everything:
            asyncio.run(story(everything))

    return go


def content(image: dict[str, Any]) -> int:
    return len(image["config"]) + len(manifest_of(image["config_digest"]))


def test_all_manifests_of_an_index(run: Callable[[Story], None]) -> None:
    async def story(w: World) -> None:
        await w.pull(["app", f"app@{DIGEST}"], INDEX, here, there)
        await w.images.tag("app", "mine", "1")
        w.containers[THERE] = [("c" * 64, False)]
        (found,) = await w.images.list_with_manifests({}, w.users, shared_size=True)
        body = msgspec.to_builtins(found)
        assert (body["Id"], body["RepoTags"], body["RepoDigests"], body["Containers"]) == (HERE, ["app:latest", "mine:1"], [f"app@{DIGEST}"], 1)
        assert body["Descriptor"] == {"mediaType": OCI_INDEX, "digest": DIGEST, "size": len(INDEX)}
        first, second, missing, statement, unknown = body["Manifests"]
        assert first == {
            "ID": digests.of(manifest_of(HERE)), "Descriptor": ENTRIES[0], "Available": True, "Kind": "image",
            "Size": {"Content": content(here), "Total": content(here) + 2 * LAYER},
            "ImageData": {"Platform": HOST, "Size": {"Unpacked": 2 * LAYER}, "Containers": []},
        }  # fmt: skip
        assert second["ImageData"]["Containers"] == ["c" * 64] and second["Available"]
        assert (missing["Kind"], missing["Available"], missing["Size"]) == ("image", False, {"Content": 0, "Total": 0})
        assert missing["ImageData"] == {"Platform": THIRD, "Size": {"Unpacked": 0}, "Containers": []}
        # The docker command looks at AttestationData without asking whether it is there.
        assert (statement["Kind"], statement["Available"]) == ("attestation", False)
        assert statement["AttestationData"] == {"For": digests.of(manifest_of(HERE))} and "ImageData" not in statement
        assert unknown["Kind"] == "unknown"
        # Layers that its images share are counted once.
        assert body["Size"] == len(INDEX) + content(here) + content(there) + 3 * LAYER and body["SharedSize"] == 0

    run(story)


def test_one_summary_for_each_thing_that_a_name_stands_for(run: Callable[[Story], None]) -> None:
    async def story(w: World) -> None:
        await w.pull(["app"], INDEX, here, there)
        await w.load(parsed("plain", ["base", "p"], ["plain:1", "plain:2"]), parsed("loose", ["l"]))
        await w.images.tag(THERE, "alone")
        found = {tuple(one.repo_tags): one for one in await w.images.list_with_manifests({}, w.users, shared_size=True)}
        assert sorted(found) == [(), ("alone:latest",), ("app:latest",), ("plain:1", "plain:2")]
        plain = found["plain:1", "plain:2"]
        assert isinstance(plain.manifests, list) and len(plain.manifests) == 1 and plain.descriptor is msgspec.UNSET
        # One that came without a manifest is named by its configuration.
        assert plain.manifests[0].id == plain.id and plain.manifests[0].available and plain.shared_size == LAYER
        assert isinstance(found["alone:latest",].manifests, list) and found["alone:latest",].manifests[0].id == digests.of(manifest_of(THERE))
        assert [one.repo_tags for one in await w.images.list_with_manifests({"reference": ["pl*"]}, w.users)] == [["plain:1", "plain:2"]]
        assert len(w.images.list({})) == 4, "without manifests it is one for each image"

    run(story)


def test_inspect_of_a_platform_and_of_all(run: Callable[[Story], None]) -> None:
    async def story(w: World) -> None:
        await w.pull(["app"], INDEX, here, there)
        s390x = platforms.parse("s390x")
        found = await w.images.inspect("app")
        assert (found.id, found.manifests) == (HERE, msgspec.UNSET)
        assert found.descriptor == {"mediaType": OCI_INDEX, "digest": DIGEST, "size": len(INDEX)}
        found = await w.images.inspect("app", s390x)
        assert found.id == THERE == (await w.images.inspect(THERE)).id
        assert found.descriptor == {**ENTRIES[1], "platform": OTHER} == (await w.images.inspect(THERE)).descriptor
        assert [item.created_by for item in w.images.history("app", s390x)] == ["CMD", "ADD b", "ADD base"]
        whole = await w.images.inspect("app", manifests=True, users=w.users)
        assert isinstance(whole.manifests, list) and [one.available for one in whole.manifests] == [True, True, False, False, False]
        with pytest.raises(Invalid, match=r"^conflicting options: manifests and platform options cannot both be set$"):
            await w.images.inspect("app", s390x, manifests=True)
        await w.load(parsed("plain", ["p"], ["plain:1"]))
        assert (await w.images.inspect("plain:1")).descriptor is msgspec.UNSET

    run(story)


def test_a_damaged_index_hides_nothing_that_is_here(run: Callable[[Story], None], caplog: pytest.LogCaptureFixture) -> None:
    async def story(w: World) -> None:
        await w.pull(["app"], INDEX, here, there)
        path = w.content.path(DIGEST)
        path.chmod(0o600)
        path.write_bytes(b"{}")
        (found,) = await w.images.list_with_manifests({}, w.users)
        assert isinstance(found.manifests, list) and [one.available for one in found.manifests] == [True, True]
        assert found.descriptor is msgspec.UNSET and "is damaged" in caplog.text

    run(story)


def test_disk_usage(run: Callable[[Story], None]) -> None:
    def du(folder: Path) -> int:
        entries = [folder, *folder.rglob("*")]
        return sum(os.lstat(entry).st_blocks * 512 for entry in entries)

    async def story(w: World) -> None:
        await w.pull(["app"], INDEX, here, there)
        await w.load(parsed("plain", ["p"], ["plain:1"]))
        partial = w.content.partial(digests.of(b"x"), 100_000)
        part = partial.claim()
        assert part
        partial.write(part, b"x" * 50_000)
        partial.close()
        w.containers[HERE] = [("c" * 64, True), ("d" * 64, False)]
        total, found = await w.images.disk_usage(w.users)
        assert total == 4 * LAYER + du(w.root / "content")
        by_id = {one.id: one for one in found}
        assert [by_id[HERE].containers, by_id[THERE].containers] == [2, 0]
        # Two layers, a configuration and a manifest, a block each; the base is shared.
        assert (by_id[HERE].size, by_id[HERE].shared_size) == (4 * 4096, LAYER) and w.layers.has(diff_id("base"))
        assert (await w.images.prune({}, w.users)).space_reclaimed == 53_248
        assert (await w.images.disk_usage(w.users))[0] == 4 * LAYER + du(w.root / "content") < total

    run(story)


def test_images_of_an_index_within_the_index(run: Callable[[Story], None]) -> None:
    inner = {"mediaType": OCI_INDEX, "digest": "sha256:" + "7" * 64, "size": 5}
    outer = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [ENTRIES[0], inner]}).encode()

    async def story(w: World) -> None:
        await w.pull(["app"], outer, here, there)
        (found,) = await w.images.list_with_manifests({}, w.users)
        assert isinstance(found.manifests, list)
        assert [(one.kind, one.available) for one in found.manifests] == [("image", True), ("unknown", False), ("image", True)]
        assert found.manifests[2].id == digests.of(manifest_of(THERE))

    run(story)
