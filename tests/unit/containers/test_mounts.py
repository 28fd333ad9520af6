import pytest
from msgspec import UNSET

from pier.api.models.containers import BindOptions, CreateRequest, HostConfig, Mount, TmpfsOptions, VolumeOptions
from pier.containers import mounts, unsupported
from pier.errors import Internal, Invalid, NotImplementedByPier


def test_a_bind_has_its_modes_and_propagation() -> None:
    point = mounts.parse_bind("/src:/dst:ro,rslave")
    assert (point.source, point.destination, point.rw, point.propagation, point.mode) == ("/src", "/dst", False, "rslave", "ro,rslave")


def test_a_plain_bind_is_writable_and_private() -> None:
    point = mounts.parse_bind("/src/../other:/dst/")
    assert (point.source, point.destination, point.rw, point.propagation) == ("/other", "/dst", True, "rprivate")


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("/a:b:c:d", "invalid volume specification: '/a:b:c:d'"),
        (
            "/tmp:x",
            "invalid volume specification: '/tmp:x': invalid mount config for type \"bind\": invalid mount path: 'x' mount path must be absolute",
        ),
        ("/tmp:/", "invalid volume specification: '/tmp:/': invalid mount config for type \"bind\": invalid specification: destination can't be '/'"),
        ("/tmp:/x:foo", "invalid mode: foo"),
        ("/tmp:/x:ro,rw", "invalid mode: ro,rw"),
        ("/tmp:/x:shared,private", "invalid mode: shared,private"),
    ],
)
def test_a_bad_bind_is_refused_in_dockers_words(spec: str, text: str) -> None:
    with pytest.raises(Internal) as told:
        mounts.parse_bind(spec)
    assert str(told.value) == text


@pytest.mark.parametrize(
    ("mount", "text"),
    [
        (Mount(type="foo", target="/x"), 'invalid mount config for type "foo": mount type unknown'),
        (Mount(type="tmpfs", source="/x", target="/x"), 'invalid mount config for type "tmpfs": field Source must not be specified'),
        (Mount(type="bind", source="/tmp"), 'invalid mount config for type "bind": field Target must not be empty'),
        (
            Mount(type="bind", source="/tmp", target="x"),
            "invalid mount config for type \"bind\": invalid mount path: 'x' mount path must be absolute",
        ),
        (
            Mount(type="bind", source="tmp", target="/x"),
            "invalid mount config for type \"bind\": invalid mount path: 'tmp' mount path must be absolute",
        ),
        (Mount(type="bind", target="/x"), 'invalid mount config for type "bind": field Source must not be empty'),
        (
            Mount(type="bind", source="/tmp", target="/x", volume_options=VolumeOptions(no_copy=True)),
            'VolumeOptions must not be specified on mount type "bind"',
        ),
        (
            Mount(type="bind", source="/tmp", target="/x", bind_options=BindOptions(propagation="zz")),
            'invalid mount config for type "bind": invalid propagation mode: zz',
        ),
    ],
)
def test_a_bad_mount_is_refused_in_dockers_words(mount: Mount, text: str) -> None:
    with pytest.raises(Invalid) as told:
        mounts.from_mount(mount)
    assert str(told.value) == text


def test_two_mounts_at_one_target_are_refused() -> None:
    with pytest.raises(Invalid, match="Duplicate mount point: /x"):
        mounts.points(HostConfig(binds=["/tmp:/x", "/tmp:/x"]))
    with pytest.raises(Invalid, match="Duplicate mount point: /x"):
        mounts.points(HostConfig(binds=["/tmp:/x"], tmpfs={"/x/": ""}))


def test_a_missing_source_is_made_for_binds_and_refused_for_mounts() -> None:
    _, folders = mounts.points(HostConfig(binds=["/no/such/place:/x"]))
    assert folders == ["/no/such/place"]
    with pytest.raises(Invalid, match="bind source path does not exist: /no/such/place"):
        mounts.points(HostConfig(mounts=[Mount(type="bind", source="/no/such/place", target="/x")]))


def test_tmpfs_options_become_words() -> None:
    assert (
        mounts.tmpfs_options(Mount(type="tmpfs", target="/x", tmpfs_options=TmpfsOptions(size_bytes=1048576, mode=0o700))) == "size=1048576,mode=700"
    )
    assert mounts.tmpfs_options(Mount(type="tmpfs", target="/x", tmpfs_options=UNSET)) == ""


@pytest.mark.parametrize("word", ["shared", "rshared"])
@pytest.mark.parametrize("way", ["Binds", "Mounts"])
def test_mounts_that_would_reach_the_host_are_refused_by_name(way: str, word: str) -> None:
    mount = Mount(type="bind", source="/src", target="/dst", bind_options=BindOptions(propagation=word))
    host = HostConfig(binds=[f"/src:/dst:ro,{word}"]) if way == "Binds" else HostConfig(mounts=[mount])
    with pytest.raises(NotImplementedByPier, match=rf"propagation '{word}' of bind '/src.* \(HostConfig.{way}\) is not supported by Pier yet"):
        unsupported.refuse(CreateRequest(image="busybox"), host)


def test_other_propagations_pass() -> None:
    unsupported.refuse(CreateRequest(image="busybox"), HostConfig(binds=["/src:/dst:rslave", "/a:/shared:private"]))
