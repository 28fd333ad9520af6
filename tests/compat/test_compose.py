"""Docker Compose, unchanged: applications with networks, ports, volumes and health go up, are seen, change, and go down."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.harness import reference
from tests.harness.commands import Done, eventually, run

from .conftest import Target

COMPOSE = """
name: {name}
services:
  web:
    image: {image}
    command: ["sh", "-c", "echo hi from $$A; trap 'exit 0' TERM; while :; do sleep 0.1; done"]
    network_mode: bridge
    restart: unless-stopped
    environment: {{A: compose}}
    ulimits: {{nofile: {{soft: 100, hard: 200}}}}
    mem_limit: 64m
    cpus: 0.5
    tmpfs: ["/scratch"]
    read_only: true
    init: true
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    labels: {{pier.test: {token}}}
    stop_grace_period: 5s
  job:
    image: {image}
    command: ["sh", "-c", "exit 3"]
    network_mode: none
    labels: {{pier.test: {token}}}
"""


@pytest.fixture
def compose(docker: Target, tmp_path: Path) -> "Compose":
    command = reference.compose()
    if not command:
        pytest.skip("no docker-compose: ../shared/tools/peers makes one")
    (tmp_path / "compose.yaml").write_text(COMPOSE.format(name=docker.name(), image=docker.image, token=docker.token))
    return Compose(command, docker, tmp_path)


class Compose:
    """The command in a project of this test's own."""

    def __init__(self, command: str, docker: Target, folder: Path) -> None:
        self._argv = [command, "--project-directory", str(folder), "--ansi", "never"]
        self._env = docker.env

    def __call__(self, *words: str) -> Done:
        return run([*self._argv, *words], self._env, limit_s=60)

    def ps(self) -> list[dict[str, Any]]:
        """All containers of the project."""
        return [json.loads(line) for line in self("ps", "-a", "--format", "json").ok().out.splitlines()]


def states(compose: Compose) -> list[tuple[str, str, int]]:
    """(service, state, exit code) of each container."""
    return sorted((row["Service"], row["State"], row["ExitCode"]) for row in compose.ps())


def test_up_ps_logs_exec_down(docker: Target, compose: "Compose") -> None:
    compose("up", "-d").ok()
    eventually(lambda: ("job", "exited", 3) in states(compose), says="the job ends")
    assert states(compose) == [("job", "exited", 3), ("web", "running", 0)]
    rows = compose.ps()
    assert "hi from compose" in compose("logs", "web").ok().out
    assert compose("exec", "-T", "web", "sh", "-c", "ulimit -n; touch /scratch/x && touch /x").fails(1, "Read-only file system").out.startswith("100\n")
    compose("up", "-d").ok()  # nothing changed: nothing is made anew
    assert {row["ID"] for row in compose.ps() if row["Service"] == "web"} == {row["ID"] for row in rows if row["Service"] == "web"}
    compose("down").ok()
    assert docker("ps", "-aq", "--filter", f"label=pier.test={docker.token}").ok().line == ""


NETWORKS = """
name: {name}
x-service: &service
  image: {image}
  stop_grace_period: 1s
  labels: {{pier.test: {token}}}
services:
  web:
    <<: *service
    command: ["sh", "-c", "while :; do echo page from web | nc -l -p 80; done"]
    ports: ["28080:80", "81"]
    networks: {{front: {{aliases: [www]}}, back: {{ipv4_address: 10.97.1.9}}}}
  db:
    <<: *service
    command: ["sh", "-c", "while :; do echo rows | nc -l -p 5432; done"]
    networks: [back]
    volumes: ["data:/data"]
    ports: ["127.0.0.1:25432:5432"]
  guest:
    <<: *service
    command: ["sleep", "300"]
    networks: [front]
    depends_on: [web]
networks:
  front: {{}}
  back:
    internal: true
    ipam: {{config: [{{subnet: 10.97.1.0/24}}]}}
volumes:
  data: {{}}
"""


def test_three_services_in_two_networks(docker: Target, compose: "Compose", tmp_path: Path) -> None:
    name = docker.name()
    (tmp_path / "compose.yaml").write_text(NETWORKS.format(name=name, image=docker.image, token=docker.token))
    try:
        compose("up", "-d").ok()
        assert [state for _, state, _ in states(compose)] == ["running"] * 3

        def reads(service: str, address: str, port: str) -> str:
            return compose("exec", "-T", service, "sh", "-c", f"nc -w 5 {address} {port} </dev/null").out

        assert reads("guest", "web", "80") == reads("guest", "www", "80") == "page from web\n"
        assert reads("web", "db", "5432") == "rows\n" and reads("db", "10.97.1.9", "80") == "page from web\n"
        assert reads("guest", "db", "5432") == ""
        assert compose("port", "web", "80").ok().line == "0.0.0.0:28080"
        assert compose("port", "web", "81").ok().line.startswith("0.0.0.0:")
        assert docker.reads("127.0.0.1", 28080) == docker.reads("::1", 28080) == "page from web\n"
        assert docker.reads("127.0.0.1", 25432) == "", "a port of an internal network is not published"
    finally:
        compose("down", "-v").ok()
    assert docker("network", "ls", "-q", "--filter", f"name={name}").ok().out == ""


APPLICATION = """
name: {name}
x-service: &service
  image: {image}
  stop_grace_period: 1s
  labels: {{pier.test: {token}}}
services:
  web:
    <<: *service
    command: ["sh", "-c", "echo web {version}; while :; do (echo page; cat /data/rows) | nc -l -p 80; done"]
    networks: [front, back]
    ports: ["127.0.0.1::80"]
    volumes: ["data:/data:ro"]
    depends_on: {{db: {{condition: service_healthy}}}}
    healthcheck: {{test: "nc -w 1 db 5432 </dev/null | grep -q rows", interval: 300ms, retries: 100}}
  db:
    <<: *service
    command: ["sh", "-c", "sleep 1; echo 42 > /data/rows; while :; do echo rows | nc -l -p 5432; done"]
    networks: [back]
    volumes: ["data:/data", "logs:/logs"]
    healthcheck: {{test: ["CMD", "test", "-s", "/data/rows"], interval: 200ms, retries: 100}}
  worker:
    <<: *service
    command: ["sh", "-c", "hostname; sleep 300"]
    networks: [front]
    depends_on: {{web: {{condition: service_healthy, restart: true}}}}
networks:
  front: {{}}
  back: {{internal: true}}
volumes:
  data: {{}}
  logs: {{labels: {{what: logs}}}}
"""


def test_an_application_with_health(docker: Target, compose: "Compose", tmp_path: Path) -> None:
    name = docker.name()

    def write(version: int) -> None:
        text = APPLICATION.format(name=name, image=docker.image, token=docker.token, version=version)
        (tmp_path / "compose.yaml").write_text(text)

    def ids() -> dict[str, str]:
        return {row["Service"]: row["ID"] for row in compose.ps()}

    write(1)
    try:
        compose("up", "-d").ok()
        assert {(row["Service"], row["State"], row["Health"]) for row in compose.ps()} == {
            ("web", "running", "healthy"), ("db", "running", "healthy"), ("worker", "running", ""),
        }  # fmt: skip
        assert compose("exec", "-T", "worker", "sh", "-c", "nc -w 5 web 80 </dev/null").ok().out == "page\n42\n"
        published = compose("port", "web", "80").ok().line
        fetch = f"exec 3<>/dev/tcp/{published.replace(':', '/')}; cat <&3"
        assert run(["nsenter", "--target", str(docker.inside.pid), "--net", "--", "bash", "-c", fetch]).ok().out == "page\n42\n"
        assert "web-1  | web 1\n" in compose("logs", "web").ok().out
        assert docker("volume", "ls", "-q", "--filter", "label=what=logs", "--filter", f"name={name}").ok().line == f"{name}_logs"

        before = ids()
        compose("up", "-d", "--wait").ok()
        assert ids() == before  # nothing changed: nothing is made anew
        write(2)
        compose("up", "-d", "--wait").ok()
        after = ids()
        assert after["db"] == before["db"] and after["web"] != before["web"]
        assert "web 2" in compose("logs", "--tail", "5", "web").ok().out

        compose("restart", "-t", "0", "db").ok()
        compose("up", "-d", "--wait", "--scale", "worker=3").ok()
        assert [service for service, state, _ in states(compose) if state == "running"] == ["db", "web"] + ["worker"] * 3
        assert len(set(compose("logs", "--no-log-prefix", "worker").ok().out.split())) >= 3
        compose("up", "-d", "--scale", "worker=1").ok()
        assert [service for service, _, _ in states(compose)] == ["db", "web", "worker"]
        compose("stop", "-t", "0", "web").ok()
        compose("start", "web").ok()
        assert "sleep 300" in compose("top", "worker").ok().out
    finally:
        compose("down", "-v").ok()
    for kind in ("network", "volume"):
        assert docker(kind, "ls", "-q", "--filter", f"name={name}").ok().out == ""


def test_copies_come_later(docker: Target, compose: "Compose", tmp_path: Path) -> None:
    if docker.kind == "reference":
        pytest.skip("Docker has it")
    compose("up", "-d", "web").ok()
    text = "copying out of a container (cp) is not supported by Pier yet"
    compose("cp", "web:/etc/hosts", str(tmp_path / "hosts")).fails(1, text)
    docker("cp", f"{compose.ps()[0]['Name']}:/etc/hosts", "-").fails(1, "is not supported by Pier yet")  # `pier` says it itself
    docker("export", compose.ps()[0]["Name"]).fails(1, "is not supported by Pier yet")
    compose("down").ok()


def test_what_comes_later_is_refused_by_name(docker: Target, compose: "Compose", tmp_path: Path) -> None:
    if docker.kind == "reference":
        pytest.skip("Docker has it")
    (tmp_path / "compose.yaml").write_text(f"services: {{web: {{image: {docker.image}, network_mode: bridge, cgroup_parent: x}}}}\n")
    compose("up", "-d").fails(1, "HostConfig.CgroupParent is not supported by Pier yet")
