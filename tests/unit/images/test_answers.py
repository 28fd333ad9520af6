"""List, inspect and history: against what a real engine answered."""

from typing import Any

import msgspec
import pytest

from pier.api.models.images import inspect_at, summary_at
from pier.errors import Invalid, NotFound
from pier.images import history, inspect, listing, removal
from pier.images.catalog import Catalog
from pier.images.image import Image, Layer
from pier.oci import digest as digests
from pier.oci import image_config, platform
from pier.oci.reference import parse

IMPORTED = b"""{"architecture":"amd64","comment":"Imported from -","created":"2026-11-21T07:49:21.87547022Z","docker_version":"28.5.2+dfsg4",
"config":{"Hostname":"","Env":null,"Cmd":["sh"],"Labels":null},"os":"linux","history":[{"created":"2026-11-21T07:49:21.87547022Z",
"comment":"Imported from -"}],"rootfs":{"type":"layers","diff_ids":["sha256:90a559c1db4c5b9bdf694f3b502c54debf205fefad446c0ce8653dcb1036f215"]}}"""


def image(
    name: str, *tags: str, created: str = "2026-01-01T00:00:00Z", layers: tuple[str, ...] = ("base",), parent: str = "", **config: Any
) -> Image:
    ids = tuple(digests.of(layer.encode()) for layer in layers)
    data = msgspec.json.encode({"architecture": "amd64", "os": "linux", "created": created, "author": name, "config": config,
                                "rootfs": {"type": "layers", "diff_ids": ids}})  # fmt: skip
    references = tuple(parse(tag) for tag in tags)
    return Image(digests.of(data), image_config.parse(data), data, tuple(Layer(one, 100) for one in ids), references, parent=parent)


def catalog(*images: Image) -> Catalog:
    made = Catalog()
    for one in images:
        made.put(one)
    return made


@pytest.fixture
def busybox() -> Catalog:
    config = image_config.parse(IMPORTED)
    return catalog(Image(digests.of(IMPORTED), config, IMPORTED, (Layer(config.diff_ids[0], 1984377),), (parse("busybox:latest"),),
                         last_tag_ns=1795247361_876759663))  # fmt: skip


def test_list_is_the_references(busybox: Catalog) -> None:
    (found,) = listing.list_images(busybox, {})
    expected = {
        "Containers": 0, "Created": 1795247361, "Id": digests.of(IMPORTED), "Labels": None, "ParentId": "", "RepoDigests": [],
        "RepoTags": ["busybox:latest"], "SharedSize": -1, "Size": 1984377,
    }  # fmt: skip
    assert summary_at(found, (1, 51)) == expected and list(summary_at(found, (1, 51))) == list(expected)
    assert summary_at(found, (1, 44)) == {**expected, "Containers": -1}
    assert summary_at(found, (1, 40)) == {**expected, "Containers": -1, "RepoDigests": None, "VirtualSize": 1984377}
    assert listing.list_images(busybox, {}, shared_size=True)[0].shared_size == 0


def test_inspect_is_the_references(busybox: Catalog) -> None:
    found = inspect.answer(busybox.resolve("busybox"), "erofs")
    body = inspect_at(found, (1, 51))
    assert body == {
        "Id": digests.of(IMPORTED), "RepoTags": ["busybox:latest"], "RepoDigests": [], "Parent": "", "Comment": "Imported from -",
        "Created": "2026-11-21T07:49:21.87547022Z", "DockerVersion": "28.5.2+dfsg4", "Author": "", "Architecture": "amd64", "Os": "linux",
        "Size": 1984377, "GraphDriver": {"Data": None, "Name": "erofs"},
        "RootFS": {"Type": "layers", "Layers": ["sha256:90a559c1db4c5b9bdf694f3b502c54debf205fefad446c0ce8653dcb1036f215"]},
        "Metadata": {"LastTagTime": "2026-11-21T07:49:21.876759663Z"},
        "Config": {"Cmd": ["sh"], "Entrypoint": None, "Env": None, "Labels": None, "OnBuild": None, "User": "", "Volumes": None, "WorkingDir": ""},
    }  # fmt: skip
    old = inspect_at(found, (1, 40))
    assert old["VirtualSize"] == 1984377 and old["ContainerConfig"]["AttachStdin"] is False
    assert len(old["Config"]) == 17 and old["Config"]["Cmd"] == ["sh"] and old["Config"]["Hostname"] == ""
    assert "ContainerConfig" not in inspect_at(found, (1, 45)) and "Hostname" not in inspect_at(found, (1, 50))["Config"]
    with pytest.raises(NotFound) as caught:
        busybox.resolve("busybox", platform.parse("linux/arm64"))
    assert str(caught.value) == (
        "image with reference busybox was found but its platform (linux/amd64) does not match the specified platform (linux/arm64)"
    )


def test_history_is_the_references(busybox: Catalog) -> None:
    assert [msgspec.to_builtins(item) for item in history.history(busybox, "busybox")] == [
        {"Comment": "Imported from -", "Created": 1795247361, "CreatedBy": "", "Id": digests.of(IMPORTED), "Size": 1984377,
         "Tags": ["busybox:latest"]}
    ]  # fmt: skip
    with pytest.raises(NotFound, match=r"^No such image: nope:latest$"):
        history.history(busybox, "nope")


def names(found: list[Any]) -> list[list[str]]:
    return [one.repo_tags for one in found]


def test_filters_of_the_list() -> None:
    old = image("old", "old:1", "app:1", created="2025-01-01T00:00:00Z", Labels={"a": "1"})
    new = image("new", "new:1", created="2026-01-01T00:00:00Z", layers=("base", "top"))
    loose = image("loose", created="2025-06-01T00:00:00Z")
    pulled = image("pulled", "got@" + digests.of(b"x"), created="2025-07-01T00:00:00Z")
    all_of_them = catalog(old, new, loose, pulled)

    def listed(**filters: list[str]) -> list[str]:
        return [one.id for one in listing.list_images(all_of_them, filters)]

    assert listed() == [new.id, pulled.id, loose.id, old.id]
    assert listed(dangling=["true"]) == [pulled.id, loose.id] and listed(dangling=["false"]) == [new.id, pulled.id, old.id]
    assert listed(label=["a"]) == [old.id] == listed(label=["a=1"]) and listed(label=["a=2"]) == []
    assert listed(before=["new:1"]) == [pulled.id, loose.id, old.id] and listed(since=["old:1"]) == [new.id, pulled.id, loose.id]
    assert listed(until=["2025-06-30"]) == [loose.id, old.id]
    assert names(listing.list_images(all_of_them, {"reference": ["app", "new*"]})) == [["new:1"], ["app:1"]]
    assert [one.shared_size for one in listing.list_images(all_of_them, {}, shared_size=True)] == [100] * 4
    assert listing.list_images(all_of_them, {}, containers=lambda identity: 3)[0].containers == 3
    for filters, error in (({"zz": ["a"]}, Invalid), ({"before": ["nope"]}, NotFound), ({"reference": ["["]}, Invalid), ({"until": ["x"]}, Invalid)):
        with pytest.raises(error):
            listing.list_images(all_of_them, filters)


def test_names_and_beginnings_of_ids() -> None:
    one, two = image("one", "a:1"), image("two", "b:1")
    both = catalog(one, two)
    assert both.resolve(one.id[7:20]).id == one.id and both.resolve("a:1") == one
    for text in ("", "sha256:", "nope", "a:2", "zz"):
        with pytest.raises((NotFound, Invalid)):
            both.resolve(text)
    many = catalog(*(image(str(n)) for n in range(20)))
    with pytest.raises(NotFound):  # twenty IDs cannot have sixteen different first digits
        for digit in "0123456789abcdef":
            many.resolve(digit)


def nobody(identity: str) -> list[tuple[str, bool]]:
    return []


def test_removal_of_children_and_parents() -> None:
    base = image("base", layers=("l1",))
    middle = image("middle", layers=("l1", "l2"), parent=base.id)
    top = image("top", "top:1", layers=("l1", "l2", "l3"), parent=middle.id)
    family = catalog(base, middle, top)

    def gone(*, prune: bool) -> list[str]:
        return [one.id for one in removal.plan(family, "top:1", nobody, force=False, prune=prune).gone]

    assert gone(prune=True) == [top.id, middle.id, base.id] and gone(prune=False) == [top.id]
    with pytest.raises(Exception, match=r"\(cannot be forced\) - image has dependent child images"):
        removal.plan(family, base.id, nobody, force=True, prune=True)
    items = removal.plan(family, "top:1", nobody, force=False, prune=True).items
    assert [bool(item.untagged) for item in items] == [True] + [False] * 6
    tagged = catalog(base, image("middle", "mid:1", layers=("l1", "l2"), parent=base.id), image("top", "top:1", layers=("l3",), parent=middle.id))
    assert len(removal.plan(tagged, "top:1", nobody, force=False, prune=True).gone) == 1


def test_digests_of_a_repository_go_with_its_last_tag() -> None:
    digest = digests.of(b"x")
    one = image("one", "app:1", f"app@{digest}", "other:1")
    plan = removal.plan(catalog(one), "app:1", nobody, force=False, prune=True)
    assert [item.untagged for item in plan.items] == ["app:1", f"app@{digest}"] and plan.gone == []
    single = image("single", "app:1", f"app@{digest}")
    assert len(removal.plan(catalog(single), single.id, nobody, force=False, prune=True).items) == 4
    by_digest = removal.plan(catalog(image("d", f"app@{digest}")), f"app@{digest}", nobody, force=False, prune=True)
    assert by_digest.items[0].untagged == f"app@{digest}" and len(by_digest.gone) == 1
