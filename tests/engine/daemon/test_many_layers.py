"""Images of very many layers: as many as the kernel puts on top of each other run, one more is refused by name."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import images
from tests.harness.engine import Engine
from tests.unit.archive import tars


@pytest.fixture(scope="module", params=["erofs", "unpacked"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    env = {} if request.param == "erofs" else {"PIER_FEATURES": "-erofs"}
    with Engine(env=env) as engine:
        if dict(engine.api.get("/info")["DriverStatus"])["Layers"].partition(":")[0] != request.param:
            pytest.skip("no layers from EROFS on this machine")
        yield engine


def archive(path: Path, tag: str, count: int) -> None:
    """busybox, and `count - 1` layers that each add a file, change one and remove the one before."""
    more = [
        tars.tar(tars.folder(b"many"), tars.file(b"many/.wh.%d" % (n - 1)), tars.file(b"many/%d" % n, b"%d\n" % n), tars.file(b"last", b"%d\n" % n))
        for n in range(1, count)
    ]
    images.docker_archive(path, tag, [images.busybox_layer(), *more])


@pytest.mark.parametrize("count", [200, 500])
def test_many_layers_run(engine: Engine, tmp_path: Path, count: int) -> None:
    archive(tmp_path / "many.tar", f"many:{count}", count)
    engine.pier("load", "-i", str(tmp_path / "many.tar"), limit_s=120).ok()
    assert len(engine.api.get(f"/images/many:{count}/json")["RootFS"]["Layers"]) == count
    seen = engine.pier("run", "--rm", f"many:{count}", "sh", "-c", "cat /last; ls /many; echo x > /many/new").ok()
    assert seen.out == f"{count - 1}\n{count - 1}\n"
    made = engine.pier("run", "-d", f"many:{count}", "sh", "-c", f"rm /many/{count - 1}; echo y > /new").ok().line
    engine.pier("wait", made).ok()
    assert engine.pier("diff", made).ok().out == f"C /many\nD /many/{count - 1}\nA /new\n"
    if count == 500:
        refused = engine.pier("commit", made, "more")
        assert refused.code == 1 and "has 500 layers, and the kernel puts 500 on top of each other at most" in refused.err
    else:
        engine.pier("commit", made, "more").ok()
        assert engine.pier("run", "--rm", "more", "sh", "-c", "cat /new; ls /many").ok().out == "y\n"
    engine.pier("rm", made).ok()


def test_one_layer_more_than_the_kernel_takes_is_refused(engine: Engine, tmp_path: Path) -> None:
    archive(tmp_path / "many.tar", "many:501", 501)
    done = engine.pier("load", "-i", str(tmp_path / "many.tar"), limit_s=120)
    assert done.code == 1 and "501 layers: the limit is 500" in done.err
    assert not [image for image in engine.api.get("/images/json", all=True) if "many:501" in (image["RepoTags"] or [])]


def test_a_hard_link_into_a_layer_below_is_refused_by_name(engine: Engine, tmp_path: Path) -> None:
    """As Docker's graph drivers do: a layer stands for itself, whatever it is put on."""
    images.docker_archive(tmp_path / "x.tar", "x:1", [images.busybox_layer(), tars.tar(tars.hardlink(b"etc/passwd3", b"etc/passwd"))])
    done = engine.pier("load", "-i", str(tmp_path / "x.tar"))
    assert done.code == 1 and "etc/passwd3" in done.err and "hard link to 'etc/passwd', which is not in this layer before it" in done.err


def test_an_opaque_root_hides_nothing(engine: Engine, tmp_path: Path) -> None:
    """overlayfs merges the roots of all layers, and Docker does not know better."""
    layer = tars.tar(tars.file(b".wh..wh..opq"), tars.file(b"only", b"1\n"))
    images.docker_archive(tmp_path / "x.tar", "opaque:1", [images.busybox_layer(), layer])
    engine.pier("load", "-i", str(tmp_path / "x.tar")).ok()
    assert engine.pier("run", "--rm", "opaque:1", "cat", "/only", "/etc/not-a-program").ok().out == "1\nhello\n"
