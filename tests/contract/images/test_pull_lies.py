"""What is no image, or not what it says, is refused by name, and nothing of it is left."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from pier.errors import NotFound, PierError
from tests.contract.images.pulling import FAST, HERE
from tests.contract.images.world import World
from tests.harness.images import layer
from tests.harness.registry import Document, FakeRegistry, digest_of, image, index, small


def lying(what: str) -> Document:
    """An image with something wrong in it."""
    made = small(layers=2, size=30_000)
    layers, config = made.json["layers"], made.json["config"]
    match what:
        case "artifact":
            return made.changed(config=config | {"mediaType": "application/vnd.cncf.helm.config.v1+json"})
        case "layer type":
            return made.changed(layers=[layers[0], layers[1] | {"mediaType": "text/plain"}])
        case "layer too few":
            return made.changed(layers=layers[:1])
        case "layers swapped":
            return made.changed(layers=layers[::-1])
        case "layer size":
            return made.changed(layers=[layers[0], layers[1] | {"size": layers[1]["size"] - 1}])
        case "config size":
            return made.changed(config=config | {"size": config["size"] + 1})
        case "no gzip":
            data = b"no tar at all" * 1000
            broken = layers[1] | {"digest": digest_of(data), "size": len(data)}
            return Document(made.changed(layers=[layers[0], broken]).data, made.media_type, (*made.blobs, data))
        case "bad tar":
            return image([layer({"fine": b"1"}), layer({"../../etc/x": b"2"})])
        case "layers 501":
            return made.changed(layers=layers[:1] * 501)
        case "layers 10000":
            return made.changed(layers=layers[:1] * 10_000)
        case "index of another size":
            both = index([(made, HERE)])
            return both.changed(manifests=[both.json["manifests"][0] | {"size": 7}])
        case "index of another type":
            both = index([(made, HERE)])
            return both.changed(manifests=[both.json["manifests"][0] | {"mediaType": "application/vnd.docker.distribution.manifest.v2+json"}])
        case "index that is a manifest":
            both = index([(index([(made, HERE)]), HERE)])
            return both.changed(manifests=[both.json["manifests"][0] | {"mediaType": made.media_type}])
        case "schema 1":
            data = json.dumps({"schemaVersion": 1, "name": "x", "tag": "y", "architecture": "amd64", "fsLayers": [], "history": []}).encode()
            return Document(data, "application/vnd.docker.distribution.manifest.v1+json")
        case "windows":
            config_data = json.dumps({"os": "windows", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
            of = config | {"digest": digest_of(config_data), "size": len(config_data)}
            return Document(made.changed(config=of, layers=[]).data, made.media_type, (config_data,))
    raise AssertionError(what)


LIES = {
    "artifact": "unsupported media type application/vnd.cncf.helm.config.v1+json",
    "layer type": "unsupported media type text/plain",
    "layer too few": "layers from manifest don't match image configuration: the manifest has 1, the configuration 2",
    "layers swapped": "layers from manifest don't match image configuration",
    "layer size": "bytes, its manifest says",
    "config size": "the registry sent other bytes",
    "no gzip": "archive",
    "bad tar": "`..` in a name leads out of the layer",
    "layers 501": "501 layers: the limit is 500",
    "layers 10000": "10000 layers: the limit is 500",
    "index of another size": "the index that names it says 7",
    "index of another type": "the index that names it says application/vnd.docker.distribution.manifest.v2+json",
    "index that is a manifest": "it is application/vnd.oci.image.index.v1+json, the index that names it says",
    "schema 1": "schema 1 support has been removed",
    "windows": 'image operating system "windows" cannot be used on this platform',
}


@pytest.mark.parametrize(("what", "text"), LIES.items())
def test_what_is_wrong_is_said_and_leaves_nothing(over_kinds: Callable[..., None], registry: FakeRegistry, what: str, text: str) -> None:
    name = registry.add("team/app", lying(what), "1")

    async def story(w: World) -> None:
        error = ""
        try:
            lines = await w.pull(name)
            error = lines[-1]["error"]
            assert "errorDetail" in lines[-1]
        except PierError as raised:
            error = str(raised)
        assert text in error and f"{registry.name}/team/app" in error, error
        assert w.left() == [] and w.ingests() == [] and w.images.count() == 0
        if what in ("artifact", "layer type", "layers 501", "layers 10000"):
            assert not registry.asked("blobs"), "nothing is fetched for what cannot be"

    over_kinds(story)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ({"flip": 5000}, "bytes received have the digest"), ({"body": b"short"}, "it has 5 bytes, its manifest says"),
        ({"body": bytes(200_000)}, "it has 200000 bytes, its manifest says"), ({"lie": 10}, "bytes, its manifest says"),
        ({"lie": -10}, "bytes, its manifest says"),
    ],
)  # fmt: skip
def test_other_bytes_than_the_digest(over_kinds: Callable[..., None], registry: FakeRegistry, fault: dict[str, Any], text: str) -> None:
    made = small(layers=2, size=100_000)
    name = registry.add("app", made, "1")
    registry.fault(f"GET .*/blobs/{made.layers[1]}", times=None, **fault)

    async def story(w: World) -> None:
        error = (await w.pull(name))[-1]["error"]
        assert text in error and registry.name in error and "app" in error and made.layers[1] in error, error
        assert w.left() == [] and w.ingests() == [] and w.images.count() == 0
        registry.forget()
        await w.pull(name)
        assert w.images.resolve(name).id == made.image_id

    over_kinds(story, FAST)


@pytest.mark.parametrize("fault", [{"flip": 20}, {"body": b"{}"}, {"lie": 1}])
def test_another_configuration(once: Callable[..., None], registry: FakeRegistry, fault: dict[str, Any]) -> None:
    made = small()
    name = registry.add("app", made, "1")
    registry.fault(f"GET .*/blobs/{made.image_id}", times=None, **fault)

    async def story(w: World) -> None:
        error = (await w.pull(name))[-1]["error"]
        assert f"{registry.name}/app: blob {made.image_id}: the registry sent other bytes" in error
        assert w.left() == [] and w.ingests() == []

    once(story, FAST)


def test_what_is_not_there(once: Callable[..., None], registry: FakeRegistry) -> None:
    made = small()
    registry.add("app", made, "1")
    registry.repositories["app"].blobs.discard(made.layers[0])

    async def story(w: World) -> None:
        for name, text in (("app:2", "manifest for {}/app:2 not found: manifest unknown"), ("nope:1", "manifest for {}/nope:1 not found")):
            with pytest.raises(NotFound, match=text.format(registry.name)):
                await w.pull(f"{registry.name}/{name}")
        with pytest.raises(NotFound, match=f"repository {registry.name}/nope not found: name unknown"):
            await w.pull(f"{registry.name}/nope")
        error = (await w.pull(f"{registry.name}/app:1"))[-1]["error"]
        assert f"{registry.name}/app: layer {made.layers[0]}: " in error and "blob unknown" in error
        assert w.left() == [] and w.ingests() == []

    once(story, FAST)
