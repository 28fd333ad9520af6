import pytest
from msgspec import UNSET

from pier.api.models.containers import BindOptions, HostConfig, Mount, MountPoint, TmpfsOptions, VolumeOptions
from pier.containers import mounts, propagation
from pier.errors import Internal, Invalid


def test_a_bind_has_its_modes_and_propagation() -> None:
    point = mounts.parse_bind("/src:/dst:ro,rslave").point
    assert (point.source, point.destination, point.rw, point.propagation, point.mode) == ("/src", "/dst", False, "rslave", "ro,rslave")


def test_a_plain_bind_is_writable_and_private() -> None:
    point = mounts.parse_bind("/src/../other:/dst/").point
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
        ("/tmp:/x:nocopy", "invalid mode: nocopy"),
        ("named:/x:rslave", "invalid mode: rslave"),
        (
            "named:x",
            "invalid volume specification: 'named:x': invalid mount config for type \"volume\": invalid mount path: 'x' mount path must be absolute",
        ),
        ("/", "invalid volume specification: '/': invalid mount config for type \"volume\": invalid specification: destination can't be '/'"),
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
        mounts.wishes([], HostConfig(binds=["/tmp:/x", "named:/x"]))
    with pytest.raises(Invalid, match="Duplicate mount point: /x"):
        mounts.wishes([], HostConfig(binds=["/tmp:/x"], tmpfs={"/x/": ""}))


def test_a_missing_source_is_made_for_binds_and_refused_for_mounts() -> None:
    (wish,) = mounts.wishes([], HostConfig(binds=["/no/such/place:/x"]))
    assert wish.make_source
    with pytest.raises(Invalid, match="bind source path does not exist: /no/such/place"):
        mounts.wishes([], HostConfig(mounts=[Mount(type="bind", source="/no/such/place", target="/x")]))


@pytest.mark.parametrize(
    ("spec", "name", "target", "mode", "writable"),
    [
        ("shelf:/x", "shelf", "/x", "z", True),
        ("shelf:/x/:ro", "shelf", "/x", "ro", False),
        ("shelf:/x:nocopy", "shelf", "/x", "nocopy", True),
        ("/x", "", "/x", "", True),
    ],
)
def test_a_volume_is_what_has_no_absolute_source(spec: str, name: str, target: str, mode: str, writable: bool) -> None:
    wish = mounts.parse_bind(spec)
    point = wish.point
    assert wish.is_volume and not wish.make_source
    assert (point.name, point.destination, point.mode, point.rw, point.propagation) == (name, target, mode, writable, "")


def test_declared_volumes_give_way_to_what_was_asked_for() -> None:
    host = HostConfig(binds=["shelf:/a"], tmpfs={"/b": ""}, mounts=[Mount(type="volume", source="other", target="/c")])
    found = {wish.point.destination: wish.point.name for wish in mounts.wishes(["/a", "/b", "/c", "/d", "rel"], host)}
    assert found == {"/a": "shelf", "/c": "other", "/d": "", "/rel": ""}


def test_points_of_other_containers_are_covered_by_own_ones() -> None:
    others = [wish.point for wish in mounts.wishes([], HostConfig(binds=["one:/a", "two:/b:ro"]))]
    taken = mounts.volumes_from("c:ro", lambda name: others if name == "c" else [])
    found = {wish.point.destination: (wish.point.name, wish.point.rw) for wish in mounts.wishes([], HostConfig(binds=["own:/a"]), taken)}
    assert found == {"/a": ("own", True), "/b": ("two", False)}
    for bad in ("c:zz", "c:ro,rw", "c:nocopy", "c:rslave"):
        with pytest.raises(Invalid, match="invalid mode: "):
            mounts.volumes_from(bad, lambda _: others)
    with pytest.raises(Invalid, match="volumes-from specification cannot be an empty string"):
        mounts.volumes_from("", lambda _: others)


@pytest.mark.parametrize("subpath", ["/abs", "../x", "a/../../b"])
def test_a_subpath_leads_nowhere_else(subpath: str) -> None:
    with pytest.raises(Invalid, match="subpath must be a relative path within the volume"):
        mounts.from_mount(Mount(type="volume", source="v", target="/x", volume_options=VolumeOptions(subpath=subpath)))


def test_tmpfs_options_become_words() -> None:
    assert (
        mounts.tmpfs_options(Mount(type="tmpfs", target="/x", tmpfs_options=TmpfsOptions(size_bytes=1048576, mode=0o700))) == "size=1048576,mode=700"
    )
    assert mounts.tmpfs_options(Mount(type="tmpfs", target="/x", tmpfs_options=UNSET)) == ""


def test_nothing_lies_below_a_mount_that_the_host_sees() -> None:
    def points(*binds: str) -> list[MountPoint]:
        return [mounts.parse_bind(bind).point for bind in binds]

    propagation.check(points("/a:/x:rslave", "/b:/x/y", "/c:/z:shared", "/d:/zz"))
    for below in ("/b:/x/y", "/b:/x/y/z:rshared"):
        with pytest.raises(Invalid, match="mount /x: what is mounted below a shared bind is mounted on the host, too, and /x/y"):
            propagation.check(points("/a:/x:rshared", below))
    with pytest.raises(Invalid, match="/x/ram would be"):
        propagation.check(points("/a:/x:shared"), ["/x/ram"])
