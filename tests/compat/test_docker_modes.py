"""`docker run`: namespaces that are shared, options that exclude each other, and what is made where nothing was."""

import pytest

from .conftest import Target


def sh(docker: Target, script: str, *options: str) -> str:
    """What a script prints in a container that is removed after it."""
    return docker("run", "--rm", *options, docker.image, "sh", "-c", script).ok().line


def test_a_joined_network_brings_the_names_of_its_container(docker: Target) -> None:
    first = docker.background("--hostname", "first", docker.image, "sleep", "60")
    script = "echo $(hostname) $(cat /etc/hostname) $HOSTNAME $(grep -c first /etc/hosts)"
    assert sh(docker, script, "--network", f"container:{first}") == "first first first 1"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--network", "container:{}", "--hostname", "x"), "hostname and the network mode"),
        (("--network", "container:{}", "--dns", "192.0.2.1"), "dns and the network mode"),
        (("--network", "container:{}", "--add-host", "x:192.0.2.1"), "custom host-to-IP mapping and the network mode"),
        (("--network", "container:{}", "--expose", "80"), "port exposing and the container type network mode"),
        (("--uts", "host", "--hostname", "x"), "hostname and the UTS mode"),
    ],
)
def test_options_that_a_mode_leaves_no_room_for(docker: Target, options: tuple[str, ...], reason: str) -> None:
    first = docker.background(docker.image, "sleep", "60")
    docker("run", *(option.format(first) for option in options), docker.image, "true").fails(125, f"conflicting options: {reason}")


def test_ipc_none_has_no_shared_memory(docker: Target) -> None:
    assert sh(docker, "ls -d /dev/shm /dev/mqueue 2>/dev/null; true", "--ipc", "none") == "/dev/mqueue"


def test_ipc_of_a_private_container_is_not_shared(docker: Target) -> None:
    first = docker.background("--ipc", "private", docker.image, "sleep", "60")
    docker("run", "--rm", "--ipc", f"container:{first}", docker.image, "true").fails(125, "non-shareable IPC")


def test_shared_memory_of_another_container_keeps_a_mount_of_ones_own(docker: Target) -> None:
    first = docker.background("--ipc", "shareable", docker.image, "sleep", "60")
    assert sh(docker, "df -k /dev/shm | tail -1 | awk '{print $2}'", "--ipc", f"container:{first}", "--tmpfs", "/dev/shm:size=1m") == "1024"


def test_a_new_tmpfs_is_for_everybody_and_an_old_folder_keeps_its_mode(docker: Target) -> None:
    assert sh(docker, "touch /new/x && stat -c %a /new /root", "--tmpfs", "/new", "--tmpfs", "/root", "--user", "root").split() == ["1777", "755"]
    assert sh(docker, "touch /new/x && echo ok", "--tmpfs", "/new", "--user", "1000") == "ok"


def test_the_working_folder_is_made_also_in_a_read_only_root(docker: Target) -> None:
    assert sh(docker, "pwd", "--read-only", "-w", "/made/for/this") == "/made/for/this"


def test_a_working_folder_that_is_a_file(docker: Target) -> None:
    docker("run", "--rm", "-w", "/etc/passwd", docker.image, "true").fails(125, "Cannot mkdir: /etc/passwd is not a directory")


def test_a_folder_is_not_mounted_onto_a_file(docker: Target) -> None:
    docker("run", "--rm", "-v", "/tmp:/etc/passwd", docker.image, "true").fails(125, "not a directory: Are you trying to mount a directory onto a file")


def test_a_read_only_bind_is_so_all_the_way_down(docker: Target) -> None:
    script = "grep -c ' /x[ /].* ro,' /proc/mounts; grep -c ' /x[ /].* rw,' /proc/mounts"
    below, writable = map(int, sh(docker, script + "; true", "-v", "/sys:/x:ro").split())  # grep -c fails where it counts none
    assert below > 1 and writable == 0


def test_a_read_only_bind_that_is_not_recursive(docker: Target) -> None:
    script = "grep -c ' /x .* ro,' /proc/mounts; grep -c ' /x/.* rw,' /proc/mounts"
    top, writable = map(int, sh(docker, script, "--mount", "type=bind,src=/sys,dst=/x,ro,bind-recursive=writable").split())
    assert top == 1 and writable > 0


def test_an_exec_of_a_user_that_is_not_there(docker: Target) -> None:
    container = docker.background(docker.image, "sleep", "60")
    assert "unable to find user nosuch: no matching entries in passwd file" in docker("exec", "-u", "nosuch", container, "true").err
