"""docker volume, and every kind of --mount, as the docker command shows them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Target


@pytest.fixture
def volume(docker: Target) -> Iterator[str]:
    """The name of a volume of this test; removed after it, with the containers that have it."""
    name = docker.name()
    yield name
    left = docker("ps", "-aq", "--filter", f"volume={name}").ok().out.split()
    if left:
        docker("rm", "-f", *left).ok()
    docker("volume", "rm", "-f", name)


def test_create_list_inspect_remove(docker: Target, volume: str) -> None:
    assert docker("volume", "create", "--label", "a=b", volume).ok().line == volume
    assert docker("volume", "ls", "--filter", f"name={volume}", "--format", "{{.Name}} {{.Driver}} {{.Scope}} {{.Labels}}").ok().line == (
        f"{volume} local local a=b"
    )
    (found,) = json.loads(docker("volume", "inspect", volume).ok().out)
    assert (found["Name"], found["Driver"], found["Scope"], found["Labels"], found["Options"]) == (volume, "local", "local", {"a": "b"}, None)
    assert found["Mountpoint"].endswith(f"/volumes/{volume}/_data")
    docker("volume", "create", "-d", "nope", docker.name()).fails(1, 'error looking up volume plugin nope: plugin "nope" not found')
    docker("volume", "update", volume).fails(1, "can only update cluster volumes")
    docker("volume", "rm", volume).ok()
    docker("volume", "inspect", volume).fails(1, f"get {volume}: no such volume")


def test_a_volume_keeps_its_data_and_is_kept_while_in_use(docker: Target, image: str, volume: str) -> None:
    docker("run", "--rm", "-v", f"{volume}:/data", image, "sh", "-c", "echo kept > /data/note").ok()
    holder = docker("create", "--mount", f"type=volume,src={volume},dst=/data,readonly", image).ok().line
    assert docker("run", "--rm", "--volumes-from", f"{holder}:ro", image, "cat", "/data/note").ok().line == "kept"
    docker("volume", "rm", volume).fails(1, f"volume is in use - [{holder}]")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--mount", "type=tmpfs,dst=/x,tmpfs-size=64k,tmpfs-mode=1750"], "tmpfs rw nosuid nodev noexec 1750"),
        (["--mount", "type=tmpfs,dst=/x,readonly"], "tmpfs ro nosuid nodev noexec 1777"),
        (["--tmpfs", "/x:rw,exec,size=64k,mode=700"], "tmpfs rw nosuid nodev - 700"),
        (["--mount", "type=volume,dst=/x,volume-opt=type=tmpfs,volume-opt=device=tmpfs,volume-opt=o=size=1m"], "tmpfs rw - - - 1777"),
    ],
)
def test_file_systems_in_memory(docker: Target, image: str, options: list[str], said: str) -> None:
    script = "set -- $(grep ' /x ' /proc/mounts); for w in nosuid nodev noexec; do case ,$4, in *,$w,*) f=\"$f $w\";; *) f=\"$f -\";; esac; done;"
    script += " echo $3 ${4%%,*}$f $(stat -c %a /x)"
    assert docker("run", "--rm", *options, image, "sh", "-c", script).ok().line == said


def test_labels_where_there_is_no_selinux(docker: Target, image: str, tmp_path: Path) -> None:
    """They mean nothing then, not even the wrong ones."""
    if Path("/sys/fs/selinux/enforce").exists():
        pytest.skip("this host has SELinux")
    (tmp_path / "note").write_text("here")
    options = [word for option in ("type:nobody_t", "level:s0:c1,c2", "colour:red", "nested") for word in ("--security-opt", f"label={option}")]
    made = docker("create", "-v", f"{tmp_path}:/x:z", "-v", f"{tmp_path}:/y:ro,Z", *options, image, "cat", "/x/note", "/y/note").ok()
    assert made.err == ""
    assert docker("start", "-a", made.line).ok().out == "herehere"
    assert docker("inspect", "-f", "[{{.ProcessLabel}}] [{{.MountLabel}}]", made.line).ok().line == "[] []"
    docker("rm", made.line).ok()
    docker("create", "--security-opt", "labels=disable", image).fails(1, "invalid --security-opt 2")


def test_binds(docker: Target, image: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("host")
    source = f"type=bind,src={tmp_path},dst=/x"
    for more in ("", ",bind-recursive=disabled", ",bind-nonrecursive", ",consistency=cached"):
        assert docker("run", "--rm", "--mount", source + more, image, "cat", "/x/file").ok().line == "host"
    for more in ("readonly", "readonly,bind-recursive=writable", "readonly,bind-recursive=readonly,bind-propagation=rprivate"):
        docker("run", "--rm", "--mount", f"{source},{more}", image, "touch", "/x/new").fails(1, "Read-only file system")
    docker("run", "--rm", "--mount", f"type=bind,src={tmp_path}/nope,dst=/x", image, "true").fails(
        125, f'invalid mount config for type "bind": bind source path does not exist: {tmp_path}/nope'
    )


def test_images_as_mounts(docker: Target, image: str) -> None:
    mount = f"type=image,source={image},target=/i"
    assert "busybox" in docker("run", "--rm", "--mount", mount, image, "ls", "/i/bin").ok().out
    docker("run", "--rm", "--mount", mount, image, "touch", "/i/new").fails(1, "Read-only file system")
    assert docker("run", "--rm", "--mount", f"{mount},image-subpath=bin", image, "ls", "/i/busybox").ok().line == "/i/busybox"
    docker("run", "--rm", "--mount", f"{mount},image-subpath=../x", image, "true").fails(
        125, 'invalid mount config for type "image": subpath must be a relative path within the volume'
    )
    made = docker("create", "--mount", mount, image).ok().line
    (found,) = json.loads(docker.inspect(made, "{{json .Mounts}}"))
    assert (found["Type"], found["Name"], found["Destination"], found["RW"], found["Propagation"]) == ("image", image, "/i", False, "rprivate")


@pytest.mark.parametrize(
    ("mount", "text"),
    [
        ("type=foo,dst=/x", 'invalid mount config for type "foo": mount type unknown'),
        ("type=volume,dst=x", "invalid mount path: 'x' mount path must be absolute"),
        ("type=tmpfs,src=/a,dst=/x", 'invalid mount config for type "tmpfs": field Source must not be specified'),
        ("type=image,dst=/x", 'invalid mount config for type "image": field Source must not be empty'),
        ("type=volume,dst=/x,volume-subpath=a", "must not set Subpath when using anonymous volumes"),
    ],
)
def test_what_is_refused(docker: Target, image: str, mount: str, text: str) -> None:
    docker("run", "--rm", "--mount", mount, image, "true").fails(125, text)


def test_docker_py(client: Any, image: str, docker: Target, volume: str) -> None:
    sdk = pytest.importorskip("docker")
    made = client.volumes.create(volume, driver="local", labels={"a": docker.token})
    assert made.attrs["Labels"] == {"a": docker.token} and [one.name for one in client.volumes.list(filters={"label": f"a={docker.token}"})] == [volume]
    label = {"pier.test": docker.token}
    mounts = [sdk.types.Mount("/data", volume), sdk.types.Mount("/ram", None, type="tmpfs", tmpfs_size="64k", tmpfs_mode=0o700)]
    said = client.containers.run(image, ["sh", "-c", "echo kept > /data/f; stat -c %a /ram"], mounts=mounts, labels=label, remove=True)
    assert said == b"700\n"
    read_only = {volume: {"bind": "/d", "mode": "ro"}}
    assert client.containers.run(image, ["cat", "/d/f"], volumes=read_only, labels=label, remove=True) == b"kept\n"
    holder = client.containers.create(image, volumes=read_only, labels=label)
    with pytest.raises(sdk.errors.APIError) as raised:
        made.remove()
    assert raised.value.status_code == 409 and "volume is in use" in raised.value.explanation
    holder.remove()
    pruned = client.volumes.prune({"all": True, "label": f"a={docker.token}"})
    assert pruned["VolumesDeleted"] == [volume]
    with pytest.raises(sdk.errors.NotFound):
        client.volumes.get(volume)
