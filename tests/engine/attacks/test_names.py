"""Names that mean something else: prefixes of IDs, images that look like IDs, bytes that a terminal or a log would obey."""

import json
import time

import pytest

from tests.engine.attacks import attacker
from tests.harness.engine import Engine

EVIL = "\x1b]0;owned\x07\x1b[2J\r\nlevel=error msg=forged\x9b31m"


def test_a_container_called_like_anothers_id_is_not_taken_for_it(engine: Engine) -> None:
    victim = attacker.start(engine, ["sleep", "600"])
    short = attacker.create(engine, ["true"], name=victim[:12])
    whole = attacker.create(engine, ["true"], name=victim)
    assert engine.api.get(f"/containers/{victim}/json")["Id"] == victim  # a whole ID is never a name
    assert engine.api.get(f"/containers/{victim[:12]}/json")["Id"] == short  # a name goes before a part of an ID, as in Docker
    assert engine.api.get(f"/containers/{victim[:13]}/json")["Id"] == victim
    engine.api("DELETE", f"/containers/{victim}").refused(409, "running")
    engine.pier("rm", "-f", victim).ok()
    assert victim not in engine.containers() and {short, whole} <= set(engine.containers())


def test_an_image_named_like_an_id_does_not_stand_for_it(engine: Engine) -> None:
    victim = engine.api.get("/images/busybox/json")["Id"]
    number = victim.removeprefix("sha256:")
    engine.api("POST", "/images/attacker/tag", repo=number, tag="latest").refused(400, "64-byte hexadecimal")
    engine.api("POST", "/images/attacker/tag", repo=victim, tag="latest").refused(400, "")
    engine.api("POST", "/images/attacker/tag", repo=number[:12], tag="latest").ok(201)
    try:
        assert engine.api.get(f"/images/{victim}/json")["Id"] == victim
        assert engine.api.get(f"/images/{number}/json")["Id"] == victim
        assert engine.api.get(f"/images/sha256:{number[:12]}/json")["Id"] == victim
        assert engine.api.get(f"/images/{number[:13]}/json")["Id"] == victim
        assert engine.api.get(f"/containers/{attacker.create(engine, ['true'], Image=victim)}/json")["Image"] == victim
    finally:
        engine.api("DELETE", f"/images/{number[:12]}:latest", noprune=True).ok()


NO_NAMES = ("../x", "a/b", "a\nb", "a\x1b[2J", "-x", ".x", " ", "ä", "a\0b", "a%2fb", "sha256:" + "0" * 64, "x" * 5000 + "/")


def test_a_name_that_is_none_is_refused(engine: Engine) -> None:
    made = attacker.create(engine, ["true"])
    before = engine.containers()
    for name in NO_NAMES:
        engine.api("POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"]}, name=name).refused(400, "Invalid container name")
        assert engine.api("POST", f"/containers/{made}/rename", name=name).status in (400, 500), name
        if name.strip() and name != "a/b":  # which an image may be called
            assert engine.api("POST", "/images/busybox/tag", repo=name, tag="x").status in (400, 500), name
        assert engine.containers() == before, name


@pytest.mark.parametrize("where", ["Labels", "Env", "Cmd", "Entrypoint", "WorkingDir", "Hostname", "User", "Domainname"])
def test_control_bytes_reach_neither_log_nor_terminal(engine: Engine, where: str) -> None:
    value: dict[str, object] = {"Labels": {EVIL: EVIL}, "Env": [f"A={EVIL}"], "Cmd": [EVIL], "Entrypoint": [EVIL]}
    body = {"Image": "busybox", "Cmd": ["true"], where: value.get(where, "/" + EVIL if where == "WorkingDir" else EVIL)}
    answer = engine.api("POST", "/containers/create", body)
    if answer.status == 201:
        made = answer.json["Id"]
        engine.api("POST", f"/containers/{made}/start")
        for words in (("ps", "-a", "--no-trunc"), ("inspect", made), ("ps", "-a", "--format", "json"), ("top", made), ("container", "ls", "-a")):
            said = engine.pier(*words)
            assert "\x1b" not in said.out + said.err and "\x07" not in said.out, (words, said.out)
        events = engine.api("GET", "/events", since=0, until=time.time(), filters={"container": [made]}).ok().body
        assert b"\x1b" not in events
        json.loads(engine.pier("inspect", made).ok().out)
        engine.api("DELETE", f"/containers/{made}", force=True)
    else:
        assert answer.status == 400 and "\x1b" not in answer.body.decode(), answer
    clean_log(engine)


def clean_log(engine: Engine) -> None:
    log = engine.log_text()
    assert "\x1b" not in log and "\x07" not in log, [line for line in log.splitlines() if "\x1b" in line or "\x07" in line][:3]
    assert not [line for line in log.splitlines() if line.startswith("level=error msg=forged")]


@pytest.mark.parametrize("route", ["/containers/{}/json", "/containers/{}/start", "/images/{}/json", "/exec/{}/json", "/networks/{}", "/{}"])
def test_control_bytes_of_a_path_do_not_reach_the_log(engine: Engine, route: str) -> None:
    quoted = "%1b%5b2J%07%0d%0alevel=error%20msg=forged"
    for method in ("GET", "POST", "DELETE"):
        assert engine.api(method, route.format(quoted)).status >= 400
    clean_log(engine)


def test_an_import_with_a_control_byte_in_its_message_does_not_reach_the_terminal(engine: Engine) -> None:
    engine.api("POST", "/images/create", data=b"\0" * 1024, fromSrc="-", repo="evil-message", message=EVIL).ok()
    try:
        said = engine.pier("image", "inspect", "evil-message").ok()
        assert "\x1b" not in said.out
        clean_log(engine)
    finally:
        engine.api("DELETE", "/images/evil-message").ok()
