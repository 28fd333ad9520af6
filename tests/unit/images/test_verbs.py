"""Load, import, tag, remove, prune, repair: what is there afterwards, what is said, and that a failure leaves nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from pier import trace
from pier.errors import Conflict, Invalid, NotFound, PierError, Unavailable
from pier.ipc import PeerGone, RemoteError
from pier.oci import digest as digests
from tests.unit.images.fakes import World, diff_id, parsed, stream, world

Story = Callable[[World], Coroutine[Any, Any, None]]


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Story], None]:
    def go(story: Story) -> None:
        with world(tmp_path) as everything:
            asyncio.run(story(everything))

    return go


def test_load_makes_images_with_shared_layers_once(run: Callable[[Story], None]) -> None:
    one, two = parsed("one", ["base", "a"], ["app:1", "app:2"]), parsed("two", ["base", "b"], [])

    async def story(w: World) -> None:
        lines = await w.load(one)
        assert lines == [{"stream": "Loaded image: app:1\n"}, {"stream": "Loaded image: app:2\n"}]
        assert await w.load(two) == [{"stream": f"Loaded image ID: {two['config_digest']}\n"}]
        assert w.files() == (
            sorted(diff_id(name) for name in ("base", "a", "b")),
            sorted([one["config_digest"], two["config_digest"]]),
            [],
        )
        assert w.worker.read == b"archive"
        image = w.images.resolve("app:1")
        assert (image.id, image.tags, image.size, image.diff_ids) == (one["config_digest"], ("app:1", "app:2"), 2000, (diff_id("base"), diff_id("a")))
        assert image.config_bytes.decode() == one["config"]
        for name in (one["config_digest"], one["config_digest"][7:], one["config_digest"][7:19], one["config_digest"][:20], "app:2"):
            assert w.images.resolve(name).id == one["config_digest"]
        assert w.events() == [("load", one["config_digest"]), ("load", two["config_digest"])]
        again = w.again()
        assert again.resolve("app:1") == image and again.count() == 2
        assert await w.load(one) == lines and w.images.count() == 2

    run(story)


def test_an_archive_that_ends_with_a_nameless_image_has_all_ids_told(run: Callable[[Story], None]) -> None:
    one, two = parsed("one", ["a"], ["app:1"]), parsed("two", ["b"])

    async def story(w: World) -> None:
        assert await w.load(one, two) == [
            {"stream": "Loaded image: app:1\n"},
            {"stream": f"Loaded image ID: {one['config_digest']}\nLoaded image ID: {two['config_digest']}\n"},
        ]
        assert await w.load(two, one) == [{"stream": "Loaded image: app:1\n"}]

    run(story)


def test_load_tells_its_progress_unless_quiet(run: Callable[[Story], None]) -> None:
    async def story(w: World) -> None:
        lines = await w.load(parsed("one", ["base"], ["app:1"]), quiet=False)
        name = diff_id("base")[7:19]
        assert lines[0] == {"status": "Loading layer", "progressDetail": {"current": 1500}, "progress": "   1.5kB", "id": "b" * 12}
        assert lines[1] == {
            "status": "Loading layer", "progressDetail": {"current": 1000, "total": 1000}, "id": name,
            "progress": f"[{'=' * 50}>]      1kB/1kB",
        }  # fmt: skip
        assert lines[2:] == [{"stream": "Loaded image: app:1\n"}]
        assert await w.load(parsed("one", ["base"], ["app:1"]), quiet=False) == [lines[0], {"stream": "Loaded image: app:1\n"}]

    run(story)


def test_a_name_moves_to_the_image_that_was_loaded_last(run: Callable[[Story], None]) -> None:
    one, two = parsed("one", ["a"], ["app:1"]), parsed("two", ["b"], ["app:1"])

    async def story(w: World) -> None:
        await w.load(one)
        assert (await w.load(two))[0] == {
            "stream": f"The image app:1 already exists, renaming the old one with ID {one['config_digest']} to empty string\n"
        }
        assert w.images.resolve("app:1").id == two["config_digest"]
        assert w.images.resolve(one["config_digest"]).tags == ()
        assert w.again().resolve(one["config_digest"]).tags == ()

    run(story)


def broken(**changes: Any) -> dict[str, Any]:
    return {**parsed("one", ["base"], ["app:1"]), **changes}


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (broken(config_digest=diff_id("x")), "have the digest"),
        (broken(layers=[]), "not those of its configuration"),
        (broken(tags=["UPPER"]), "must be lowercase"),
        (broken(tags=["app"]), 'invalid tag "app"'),
        (broken(config="{", config_digest=digests.of(b"{")), "image configuration"),
        (broken(manifest='{"schemaVersion":2,"config":{"mediaType":"","digest":"' + diff_id("x") + '","size":1},"layers":[]}'), "another image"),
        (broken(layers=[{**parsed("one", ["base"])["layers"][0], "dir": "../../layers"}]), "no place for a layer"),
    ],
)
def test_what_a_worker_says_is_checked_again(run: Callable[[Story], None], image: dict[str, Any], why: str) -> None:
    async def story(w: World) -> None:
        w.worker.images = [parsed("good", ["good"], ["good:1"]), image]
        # The scripted worker makes the folders that it is asked for; a folder outside its own is not made.
        if "../.." in str(image):
            w.worker.images[1] = {**image, "layers": [{**image["layers"][0], "dir": "layers/7/../7"}]}
        lines = [line async for line in w.images.load(stream(b""), True)]
        assert len(lines) == 1 and why in lines[0]["error"] and lines[0]["errorDetail"] == {"message": lines[0]["error"]}
        assert w.files() == ([], [], []) and w.images.count() == 0 and w.events() == []

    run(story)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Invalid("layer.tar: ../x leaves the root"), "layer.tar: ../x leaves the root"),
        (RemoteError({"message": "it lies", "entry": "blobs/x"}), "blobs/x: it lies"),
        (PeerGone("gone"), "the worker that read the archive ended"),
    ],
)
def test_a_refusal_of_the_worker_is_the_last_line(run: Callable[[Story], None], error: Exception, text: str) -> None:
    async def story(w: World) -> None:
        w.worker.error = error
        (line,) = await w.load()
        assert text in line["error"]
        assert w.files() == ([], [], [])

    run(story)


def test_an_archive_without_an_image_is_refused(run: Callable[[Story], None]) -> None:
    async def story(w: World) -> None:
        assert "holds no image" in (await w.load())[0]["error"]

    run(story)


def test_a_client_that_breaks_off_leaves_nothing(run: Callable[[Story], None]) -> None:
    async def broken_off() -> AsyncIterator[bytes]:
        yield b"some"
        raise Unavailable("the client went away")

    async def story(w: World) -> None:
        w.worker.images = [parsed("one", ["base"], ["app:1"])]
        lines = [line async for line in w.images.load(broken_off(), True)]
        assert lines[0]["error"] == "the client went away"
        assert w.files() == ([], [], []) and w.images.count() == 0
        loading = w.images.load(stream(b"x"))
        await anext(loading)
        await loading.aclose()  # type: ignore[attr-defined]
        assert w.files()[2] == []

    run(story)


def test_a_client_that_goes_while_the_images_are_committed_gets_them_whole(run: Callable[[Story], None], monkeypatch: pytest.MonkeyPatch) -> None:
    one = parsed("one", ["base"], ["app:1"])

    async def story(w: World) -> None:
        committing = asyncio.Event()
        write = w.store.write

        async def slow(work: Any, *, durable: bool = True) -> Any:
            committing.set()
            await asyncio.sleep(0)
            return await write(work, durable=durable)

        monkeypatch.setattr(w.store, "write", slow)
        client = asyncio.ensure_future(w.load(one))
        await committing.wait()
        client.cancel()
        with pytest.raises(asyncio.CancelledError):
            await client
        assert w.images.resolve("app:1").id == one["config_digest"] and w.events() == [("load", one["config_digest"])]
        assert w.files() == ([diff_id("base")], [one["config_digest"]], [])

    run(story)


@pytest.mark.parametrize("where", ["images.layer", "images.document", "content.commit", "images.files", "images.layer:error@2"])
def test_a_fault_at_any_durable_step_leaves_nothing(run: Callable[[Story], None], where: str) -> None:
    async def story(w: World) -> None:
        await w.load(parsed("old", ["base"], ["old:1"]))
        before = w.files()
        trace.configure(where if ":" in where else f"{where}:error")
        try:
            lines = await w.load(parsed("one", ["base", "a"], ["app:1"]), parsed("two", ["b"], ["app:2"]))
        finally:
            trace.configure()
        assert "failpoint" in lines[-1]["error"]
        assert w.files() == before and w.images.count() == 1
        assert (await w.load(parsed("one", ["base", "a"], ["app:1"])))[-1] == {"stream": "Loaded image: app:1\n"}

    run(story)


def test_files_without_rows_are_collected_at_the_next_start(run: Callable[[Story], None]) -> None:
    async def story(w: World) -> None:
        await w.load(parsed("one", ["base"], ["app:1"]))
        before = w.files()
        w.content.write(b"left")
        (w.layers.root / diff_id("left")[7:]).mkdir()
        lines = await w.again().repair(w.users)
        assert w.files() == before
        assert any("removed layer" in line for line in lines) and any("1 blobs of 4 bytes" in line for line in lines)
        assert await w.again().repair(w.users) == []
        w.layers.remove(diff_id("base"))
        assert "lacks layer" in (await w.again().repair(w.users))[0]

    run(story)


def test_an_image_whose_configuration_is_damaged_does_not_hide_the_others(run: Callable[[Story], None]) -> None:
    one, two = parsed("one", ["a"], ["app:1"]), parsed("two", ["b"], ["app:2"])

    async def story(w: World) -> None:
        await w.load(one, two)
        path = w.content.path(one["config_digest"])
        path.chmod(0o600)
        path.write_bytes(b"{}")
        again = w.again()
        assert again.resolve("app:2").id == two["config_digest"]
        with pytest.raises(NotFound):
            again.resolve("app:1")
        await again.repair(w.users)
        assert w.layers.has(diff_id("a")), "the disk may come back: what the row names stays"

    run(story)


def test_import_makes_an_image_of_one_layer(run: Callable[[Story], None]) -> None:
    async def story(w: World) -> None:
        identity = await w.images.import_(
            stream(b"tar"), repo="app", tag="v1", message="msg", changes=["CMD x", "ENV A=b", "LABEL l=v"], version="1"
        )
        image = w.images.resolve("app:v1")
        assert image.id == identity and image.size == 7 and image.diff_ids == (diff_id("imported"),)
        assert image.config.config.cmd == ["/bin/sh", "-c", "x"] and image.config.comment == "msg" and image.config.docker_version == "1"
        assert w.events() == [("tag", "app:v1"), ("import", identity)]
        assert [(item.comment, item.size, item.tags) for item in w.images.history("app:v1")] == [("msg", 7, ["app:v1"])]
        unnamed = await w.images.import_(stream(b"tar"), platform="linux/arm64")
        found = await w.images.inspect(unnamed)
        assert (found.architecture, found.comment, found.repo_tags) == ("arm64", "Imported from -", [])

    run(story)


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"repo": "UPPER"}, "invalid reference format: repository name (library/UPPER) must be lowercase"),
        ({"repo": "a", "tag": "a b"}, "invalid tag format"),
        ({"changes": ["RUN x"]}, "RUN is not a valid change command"),
        ({"platform": "foobar"}, "unknown operating system or architecture"),
        ({"platform": "windows/amd64"}, "operating system is not supported"),
    ],
)
def test_an_import_with_a_wrong_parameter_is_refused_before_its_body_is_read(
    run: Callable[[Story], None], parameters: dict[str, Any], why: str
) -> None:
    async def unread() -> AsyncIterator[bytes]:
        raise AssertionError("read")
        yield b""

    async def story(w: World) -> None:
        with pytest.raises(Invalid) as caught:
            await w.images.import_(unread(), **parameters)
        assert why in str(caught.value)
        assert w.files() == ([], [], [])

    run(story)


def test_tag(run: Callable[[Story], None]) -> None:
    one, two = parsed("one", ["a"], ["app:1"]), parsed("two", ["b"], ["app:2"])

    async def story(w: World) -> None:
        await w.load(one, two)
        assert await w.images.tag("app:1", "other") is True
        assert w.images.resolve("app:1").tags == ("app:1", "other:latest")
        assert await w.images.tag("app:2", "other", "latest") is True
        assert w.images.resolve("app:1").tags == ("app:1",) and w.images.resolve("other").id == two["config_digest"]
        assert w.events()[2:] == [("tag", "other:latest"), ("tag", "other:latest")]
        assert w.again().resolve("other").id == two["config_digest"]
        assert await w.images.tag("app:1", "") is False
        for name, repo, tag, why in (
            ("nope", "x", "", "No such image: nope:latest"),
            ("app:1", "UPPER", "", "must be lowercase"),
            ("app:1", "x", "a b", "invalid tag format"),
            ("app:1", "x@" + diff_id("x"), "", "cannot import digest reference"),
            ("app:1", "sha256", "", "refusing to create an ambiguous tag using digest algorithm as name"),
        ):
            with pytest.raises(PierError) as caught:
                await w.images.tag(name, repo, tag)
            assert why in str(caught.value)

    run(story)


def items(found: list[Any]) -> list[tuple[str, str]]:
    return [(item.untagged, item.deleted) for item in found]


def test_remove_takes_the_name_then_the_image_then_what_only_it_had(run: Callable[[Story], None]) -> None:
    one, two = parsed("one", ["base", "a"], ["app:1", "app:2"]), parsed("two", ["base", "b"], ["two:1"])

    async def story(w: World) -> None:
        await w.load(one, two)
        assert items(await w.images.remove("app:1", False, False, w.users)) == [("app:1", "")]
        assert items(await w.images.remove("app:2", False, False, w.users)) == [
            ("app:2", ""),
            ("", one["config_digest"]),
            ("", digests.chain_id((diff_id("base"), diff_id("a")))),
        ]
        assert w.files() == (sorted([diff_id("base"), diff_id("b")]), [two["config_digest"]], [])
        assert [event for event in w.events() if event[0] != "load"] == [("untag", one["config_digest"])] * 2 + [("delete", one["config_digest"])]
        gone = items(await w.images.remove(two["config_digest"][7:19], False, False, w.users))
        assert gone[:2] == [("two:1", ""), ("", two["config_digest"])] and len(gone) == 4
        assert w.files() == ([], [], []) and w.again().count() == 0
        with pytest.raises(NotFound, match=r"^No such image: two:1$"):
            await w.images.remove("two:1", False, False, w.users)

    run(story)


def test_remove_by_id_with_several_names_must_be_forced(run: Callable[[Story], None]) -> None:
    one = parsed("one", ["a"], ["app:1", "other:1"])

    async def story(w: World) -> None:
        await w.load(one)
        short = one["config_digest"][7:19]
        with pytest.raises(Conflict) as caught:
            await w.images.remove(short, False, False, w.users)
        assert str(caught.value) == f"conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
        assert w.images.resolve("app:1").tags == ("app:1", "other:1")
        assert items(await w.images.remove(short, True, False, w.users))[:3] == [("app:1", ""), ("other:1", ""), ("", one["config_digest"])]

    run(story)


def test_an_image_in_use(run: Callable[[Story], None]) -> None:
    one = parsed("one", ["a"], ["app:1"])
    identity, container = one["config_digest"], "c" * 64

    async def story(w: World) -> None:
        await w.load(one)
        short = identity[7:19]
        w.containers[identity] = [(container, True)]
        for name, force, why in (
            ("app:1", False, f'conflict: unable to remove repository reference "app:1" (must force) - container {"c" * 12} is using its '
                             f"referenced image {short}"),
            (short, False, f"conflict: unable to delete {short} (cannot be forced) - image is being used by running container {'c' * 12}"),
            (short, True, f"conflict: unable to delete {short} (cannot be forced) - image is being used by running container {'c' * 12}"),
        ):  # fmt: skip
            with pytest.raises(Conflict) as caught:
                await w.images.remove(name, force, False, w.users)
            assert str(caught.value) == why
        w.containers[identity] = [(container, False)]
        with pytest.raises(Conflict) as caught:
            await w.images.remove(short, False, False, w.users)
        assert str(caught.value) == f"conflict: unable to delete {short} (must be forced) - image is being used by stopped container {'c' * 12}"
        # A second name may go: the image stays.
        await w.images.tag("app:1", "app:2")
        assert items(await w.images.remove("app:2", False, False, w.users)) == [("app:2", "")]

    run(story)


def test_an_image_removed_by_force_serves_its_containers_to_the_last(run: Callable[[Story], None]) -> None:
    one = parsed("one", ["a"], ["app:1"])
    identity = one["config_digest"]

    async def story(w: World) -> None:
        await w.load(one)
        w.containers[identity] = [("c" * 64, False)]
        assert items(await w.images.remove("app:1", True, False, w.users)) == [("app:1", ""), ("", identity)]
        with pytest.raises(NotFound):
            w.images.resolve(identity)
        assert w.images.list({}) == [] and w.images.by_id(identity).diff_ids == (diff_id("a"),)
        assert w.again().by_id(identity).hidden and await w.again().repair(w.users) == []
        await w.images.release(identity, w.users)
        assert w.layers.has(diff_id("a"))
        await w.load(one)
        assert w.images.resolve("app:1").id == identity
        await w.images.remove("app:1", True, False, w.users)
        w.containers.clear()
        await w.images.release(identity, w.users)
        assert w.files() == ([], [], [])
        with pytest.raises(NotFound):
            w.images.by_id(identity)

    run(story)


def test_a_forced_removal_is_finished_at_the_next_start(run: Callable[[Story], None]) -> None:
    one = parsed("one", ["a"], ["app:1"])

    async def story(w: World) -> None:
        await w.load(one)
        w.containers[one["config_digest"]] = [("c" * 64, False)]
        await w.images.remove("app:1", True, False, w.users)
        w.containers.clear()
        await w.again().repair(w.users)
        assert w.files() == ([], [], [])

    run(story)


def test_an_image_that_a_container_is_being_made_from_is_held(run: Callable[[Story], None]) -> None:
    one = parsed("one", ["a"], ["app:1"])

    async def story(w: World) -> None:
        await w.load(one)
        with w.images.hold(one["config_digest"]), pytest.raises(Conflict, match="being created"):
            await w.images.remove(one["config_digest"], True, False, w.users)
        assert len(await w.images.remove("app:1", False, False, w.users)) == 3

    run(story)


@pytest.mark.parametrize("where", ["images.remove", "images.removed", "images.collect"])
def test_a_fault_while_removing(run: Callable[[Story], None], where: str) -> None:
    one = parsed("one", ["a"], ["app:1"])

    async def story(w: World) -> None:
        await w.load(one)
        trace.configure(f"{where}:error")
        try:
            with pytest.raises(OSError, match="failpoint"):
                await w.images.remove("app:1", False, False, w.users)
        finally:
            trace.configure()
        again = w.again()
        await again.repair(w.users)
        # Whole or gone, as the next daemon sees it.
        assert (again.count(), len(w.files()[0]), len(w.files()[1])) == ((1, 1, 1) if where == "images.remove" else (0, 0, 0))

    run(story)


def test_prune(run: Callable[[Story], None]) -> None:
    named, loose, used = parsed("named", ["a"], ["app:1"], l="x"), parsed("loose", ["b"]), parsed("used", ["c"], Labels={"k": "v"})

    async def story(w: World) -> None:
        await w.load(named, loose, used)
        w.containers[used["config_digest"]] = [("c" * 64, False)]
        nothing = await w.images.prune({"label": ["nosuch"]}, w.users)
        assert (nothing.images_deleted, nothing.space_reclaimed) == (None, 0)
        assert (await w.images.prune({"until": ["2020-01-01"]}, w.users)).images_deleted is None
        report = await w.images.prune({}, w.users)
        assert items(report.images_deleted or []) == [("", loose["config_digest"]), ("", diff_id("b"))]
        assert report.space_reclaimed == 2 * 4096, "the layer and the configuration, on the disk"
        report = await w.images.prune({"dangling": ["false"], "label!": ["k=v"]}, w.users)
        assert items(report.images_deleted or [])[0] == ("app:1", "")
        assert [image.id for image in w.images.list({})] == [used["config_digest"]]
        assert w.events()[-1] == ("prune", "")
        for filters, why in (({"zz": ["a"]}, "invalid filter 'zz'"), ({"dangling": ["maybe"]}, "invalid filter 'dangling=[maybe]'"),
                             ({"until": ["1", "2"]}, "more than one until filter specified")):  # fmt: skip
            with pytest.raises(Invalid) as caught:
                await w.images.prune(filters, w.users)
            assert str(caught.value) == why

    run(story)


def test_twenty_clients_at_once(run: Callable[[Story], None]) -> None:
    one = parsed("one", ["a"], ["app:1"])

    async def story(w: World) -> None:
        await w.load(one)
        outcomes = await asyncio.gather(*(w.images.remove("app:1", False, False, w.users) for _ in range(20)), return_exceptions=True)
        assert sum(isinstance(outcome, list) for outcome in outcomes) == 1
        assert all(isinstance(outcome, (list, NotFound)) for outcome in outcomes)
        await asyncio.gather(*(w.load(one) for _ in range(5)))
        assert w.files() == ([diff_id("a")], [one["config_digest"]], [])

    run(story)
