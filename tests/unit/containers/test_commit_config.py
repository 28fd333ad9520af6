"""What a committed image runs as: the rules that Docker's engine showed, case by case."""

import pytest

from pier.api.models.containers import ContainerConfig, HealthConfig
from pier.containers.commit_config import as_defaults, committed
from pier.errors import Invalid
from pier.oci.image_config import ContainerDefaults

OWN = ContainerConfig(
    cmd=["a"],
    entrypoint=["ep"],
    env=["A=1", "B=2"],
    labels={"l": "1"},
    exposed_ports={"80/tcp": {}},
    user="alice",
    working_dir="/w",
    shell=["/bin/x"],
    on_build=["RUN x"],
    hostname="h",
    tty=True,
    healthcheck=HealthConfig(test=["NONE"]),
)


def changed(*changes: str, given: ContainerConfig | None = None) -> ContainerDefaults:
    return committed(OWN, given, changes)


def test_without_a_word_it_is_the_containers_own() -> None:
    assert changed() == as_defaults(OWN)
    assert changed().shell == ["/bin/x"] and changed().on_build == ["RUN x"] and changed().hostname == "h" and changed().tty


@pytest.mark.parametrize(
    ("given", "cmd", "entrypoint"),
    [
        (ContainerConfig(), ["a"], ["ep"]),
        (ContainerConfig(cmd=["b"]), ["b"], ["ep"]),
        (ContainerConfig(cmd="one text"), ["one text"], ["ep"]),
        (ContainerConfig(entrypoint=["e2"]), None, ["e2"]),
        (ContainerConfig(entrypoint=[]), ["a"], None),
        (ContainerConfig(entrypoint=[""]), None, [""]),
        (ContainerConfig(entrypoint=["e2"], cmd=["b"]), ["b"], ["e2"]),
    ],
)
def test_command_and_entrypoint_of_a_body(given: ContainerConfig, cmd: list[str] | None, entrypoint: list[str] | None) -> None:
    found = changed(given=given)
    assert (found.cmd, found.entrypoint) == (cmd, entrypoint)


def test_a_body_is_joined_with_what_the_container_has() -> None:
    found = changed(given=ContainerConfig(env=["B=3", "C=4"], labels={"l": "2", "k": "v"}, exposed_ports={"81/udp": {}}, volumes={"/v": {}}))
    assert found.env == ["B=3", "C=4", "A=1"] and found.labels == {"l": "2", "k": "v"}
    assert found.exposed_ports == {"80/tcp": {}, "81/udp": {}} and found.volumes == {"/v": {}}
    assert (found.user, found.working_dir, found.on_build, found.shell, found.hostname) == ("alice", "/w", None, None, "")
    assert found.healthcheck and found.healthcheck.test == ["NONE"]


def test_changes_act_on_the_body() -> None:
    found = changed("ENV A=$Q$B Z=$A", "USER bob", "WORKDIR sub", "CMD x", given=ContainerConfig(env=["Q=1"]))
    assert found.env == ["Q=1", "A=1", "Z=", "B=2"] and found.user == "bob" and found.working_dir == "/sub" and found.cmd == ["/bin/sh", "-c", "x"]


def test_an_entrypoint_among_the_changes_drops_the_command() -> None:
    found = changed('ENTRYPOINT ["z"]')
    assert (found.entrypoint, found.cmd) == (["z"], None)
    assert changed("CMD []").cmd is None


def test_the_containers_configuration_stays_as_it_is() -> None:
    before = as_defaults(OWN)
    changed("ENV A=2", "LABEL l=3", "EXPOSE 99", "VOLUME /x")
    assert as_defaults(OWN) == before
    with pytest.raises(Invalid, match="NOPE is not a valid change command"):
        changed("NOPE x")
