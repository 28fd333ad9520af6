"""Published ports, as the docker command shows them."""

import json

import pytest

from .conftest import Target

PUBLISH = ["-p", "28080:80", "-p", "127.0.0.1:29000-29002:90-92", "-p", "28053:53/udp", "-p", "81", "-p", "[::1]:28084:84", "--expose", "7000-7001"]


def sleeper(docker: Target, image: str, *options: str) -> str:
    name = docker.name()
    docker.background("--name", name, *options, image, "sleep", "300")
    return name


def random_port(docker: Target, name: str, port: str) -> str:
    found = {line.rsplit(":", 1)[1] for line in docker("port", name, port).ok().out.splitlines()}
    (one,) = found
    assert int(one) >= 32768
    return one


def test_every_form_of_publish(docker: Target, image: str) -> None:
    name = sleeper(docker, image, *PUBLISH)
    free = random_port(docker, name, "81")
    both = ("0.0.0.0", "[::]")
    assert docker("port", name).ok().out.splitlines() == [
        *(f"53/udp -> {at}:28053" for at in both),
        *(f"80/tcp -> {at}:28080" for at in both),
        *(f"81/tcp -> {at}:{free}" for at in both),
        "84/tcp -> [::1]:28084",
        *(f"{90 + n}/tcp -> 127.0.0.1:{29000 + n}" for n in range(3)),
    ]
    assert docker("port", name, "80/tcp").ok().out == docker("port", name, "80").ok().out == "0.0.0.0:28080\n[::]:28080\n"
    docker("port", name, "7000").fails(1, f"Error: No public port '7000' published for {name}")
    docker("port", name, "80/udp").fails(1, f"Error: No public port '80/udp' published for {name}")
    assert docker("ps", "--filter", f"name={name}", "--format", "{{.Ports}}").ok().line == (
        "7000-7001/tcp, 0.0.0.0:28053->53/udp, [::]:28053->53/udp, 0.0.0.0:28080->80/tcp, [::]:28080->80/tcp, "
        f"0.0.0.0:{free}->81/tcp, [::]:{free}->81/tcp, [::1]:28084->84/tcp, 127.0.0.1:29000->90/tcp, 127.0.0.1:29001->91/tcp, 127.0.0.1:29002->92/tcp"
    )
    shown = json.loads(docker.inspect(name, "{{json .NetworkSettings.Ports}}"))
    assert shown["80/tcp"] == [{"HostIp": "0.0.0.0", "HostPort": "28080"}, {"HostIp": "::", "HostPort": "28080"}]
    assert (shown["7000/tcp"], shown["84/tcp"]) == (None, [{"HostIp": "::1", "HostPort": "28084"}])
    assert json.loads(docker.inspect(name, "{{json .HostConfig.PortBindings}}"))["81/tcp"] == [{"HostIp": "", "HostPort": ""}]
    assert set(json.loads(docker.inspect(name, "{{json .Config.ExposedPorts}}"))) == set(shown)
    for wanted, found in (("28080", [name]), ("28080/udp", []), ("80", []), ("29000-29001", [name])):
        assert docker("ps", "--filter", f"publish={wanted}", "--filter", f"name={name}", "--format", "{{.Names}}").ok().out.split() == found
    docker("stop", "-t", "0", name).ok()
    assert docker("port", name).ok().out == "" and docker.inspect(name, "{{json .NetworkSettings.Ports}}") == "{}"


def test_ranges_publish_all_and_what_the_page_says(docker: Target, image: str) -> None:
    name = sleeper(docker, image, "-p", "25010-25012:25010-25012", "-p", "25010-25012:25010-25012/udp")
    assert docker("ps", "--filter", f"name={name}", "--format", "{{.Ports}}").ok().line == (
        "0.0.0.0:25010-25012->25010-25012/tcp, 0.0.0.0:25010-25012->25010-25012/udp, "
        "[::]:25010-25012->25010-25012/tcp, [::]:25010-25012->25010-25012/udp"
    )
    first, second = (sleeper(docker, image, "-p", "26000-26003:80") for _ in range(2))
    assert [docker("port", each, "80").ok().out.splitlines()[0] for each in (first, second)] == ["0.0.0.0:26000", "0.0.0.0:26001"]
    every = sleeper(docker, image, "-P", "--expose", "7000-7001", "--expose", "55/udp")
    assert len({random_port(docker, every, port) for port in ("7000", "7001")}) == 2 and random_port(docker, every, "55/udp")
    web = docker.background("-p", "28081:80", image, "sh", "-c", "while :; do echo page | nc -l -p 80; done")
    assert docker.reads("127.0.0.1", 28081) == docker.reads("::1", 28081) == "page\n"
    docker("rm", "-f", web).ok()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["-p", "28082:80"], "Bind for 0.0.0.0:28082 failed: port is already allocated"),
        (["-p", "9.9.9.9:28083:80"], "failed to bind host port for 9.9.9.9:28083:172.1"),
        (["-p", "28083:80", "-p", "28083:81"], "Bind for 0.0.0.0:28083 failed: port is already allocated"),
        (["--network", "container:{}", "-p", "28083:80"], "conflicting options: port publishing and the container type network mode"),
        (["-p", "70000:80"], "Invalid hostPort: 70000"),
    ],
)
def test_what_is_refused(docker: Target, image: str, options: list[str], text: str) -> None:
    name = sleeper(docker, image, "-p", "28082:80")
    docker("run", "-d", *(word.format(name) for word in options), image, "sleep", "300").fails(125, text)


def test_networks_without_a_gateway_publish_nothing(docker: Target, image: str) -> None:
    network = docker.name()
    docker("network", "create", "--internal", network).ok()
    try:
        inside = sleeper(docker, image, "--network", network, "-p", "28085:80")
        assert docker.inspect(inside, "{{json .NetworkSettings.Ports}}") == "{}"
        docker("network", "connect", "bridge", inside).ok()
        assert "28085" in docker.inspect(inside, "{{json .NetworkSettings.Ports}}")
        docker("network", "disconnect", "bridge", inside).ok()
        assert docker.inspect(inside, "{{json .NetworkSettings.Ports}}") == "{}"
        host = docker("run", "-d", "--network", "host", "-p", "28086:80", image, "sleep", "300").ok()
        assert "WARNING: Published ports are discarded when using host network mode" in host.err
        docker("rm", "-f", inside).ok()
    finally:
        docker("network", "rm", network).ok()
