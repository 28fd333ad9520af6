"""What a machine does whose power is cut, and what it finds when it comes back: run by the guest's own Python as root, boot after boot.

The engine's folder lies on a disk that outlives the machine (/dev/vdd). Each boot says in one line what is there (`STATE {...}`), has
`image check` look at every byte, and then works until somebody cuts the power: a pull that goes on in the background, and volumes, containers and
tags that come and go, each told when it is acknowledged (`ACK {...}`). With `pier.last` it brings the pull to its end instead.
"""

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, "/pier")

from tests.harness import registry_images
from tests.harness.registry_fake import FakeRegistry
from tests.vm.guest import api, pier, start_daemon

DATA = Path("/var/lib/pier")
LAYERS, LAYER_BYTES, RATE = 3, 24 << 20, 1 << 20
PORT = 5000
NAME = f"127.0.0.1:{PORT}/power"
WORDS = Path("/proc/cmdline").read_text().split()


def state(boot: str) -> dict[str, object]:
    """What the engine says it has."""
    containers = {found["Names"][0][1:]: found["Mounts"][0]["Name"] for found in api.get("/containers/json", all=True)}
    tags = sorted(tag for image in api.get("/images/json") for tag in image["RepoTags"])
    volumes = sorted(volume["Name"] for volume in api.get("/volumes")["Volumes"])
    return {"boot": boot, "containers": containers, "tags": tags, "volumes": volumes}


def say(kind: str, document: object) -> None:
    print(kind, json.dumps(document), flush=True)


def work(boot: str) -> None:
    """Until the power is cut."""
    for number in itertools.count():
        say("CAME", {"bytes": sum(path.stat().st_size for path in (DATA / "content").rglob("data"))})
        name = f"{boot}-{number}"
        api("POST", "/volumes/create", {"Name": f"v{name}"}).ok(201)
        say("ACK", {"volumes": f"v{name}"})
        api("POST", "/containers/create", {"Image": "busybox", "HostConfig": {"Binds": [f"v{name}:/data"]}}, name=f"c{name}").ok(201)
        say("ACK", {"containers": f"c{name}"})
        api("POST", "/images/busybox/tag", repo="kept", tag=name).ok(201)
        say("ACK", {"tags": f"kept:{name}"})
        if number % 3 == 2:
            say("GOING", {"containers": f"c{boot}-{number - 1}"})
            api("DELETE", f"/containers/c{boot}-{number - 1}").ok(204)
            say("GONE", {"containers": f"c{boot}-{number - 1}"})


def pull() -> None:
    done = pier("pull", "-q", f"{NAME}:latest")
    say("PULLED", {"code": done.code, "words": done.err[-300:]})


def main() -> None:
    boot = next(word.partition("=")[2] for word in WORDS if word.startswith("pier.boot="))
    DATA.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "ext4", "/dev/vdd", DATA], check=True)
    registry = FakeRegistry(port=PORT)
    registry.add("power", registry_images.small("power", LAYERS, LAYER_BYTES), "latest")
    registry.fault("GET .*/blobs/", times=None, rate=0 if "pier.last" in WORDS else RATE)
    with registry:
        start_daemon()
        say("STATE", state(boot))
        check = pier("image", "check")
        print(f"VERDICT check-{boot} {'ok' if check.code == 0 else 'FAIL'} {check.out!r} {check.err!r}", flush=True)
        if boot == "1":
            pier("load", "-i", "/pier/busybox.tar").ok()
            say("ACK", {"tags": "busybox:latest"})
        if "pier.last" not in WORDS:
            threading.Thread(target=pull, daemon=True).start()
            work(boot)
        began = time.monotonic()
        pull()
        say("SERVED", {"bytes": [request.headers.get("range", "") for request in registry.asked("GET .*/blobs/")]})
        whole = pier("image", "check")
        print(f"VERDICT whole {'ok' if whole.code == 0 else 'FAIL'} {time.monotonic() - began:.1f} s {whole.out!r} {whole.err!r}", flush=True)
        ran = pier("run", "--rm", "busybox", "echo", "here")
        print(f"VERDICT run {'ok' if ran.line == 'here' else 'FAIL'} {ran.err!r}", flush=True)
    os.sync()


if __name__ == "__main__":
    try:
        main()
    finally:
        for log in (Path("/run/pierd.log"), Path("/run/pier/keeper.log")):
            print(f"--- {log}\n" + (log.read_text()[-6000:] if log.exists() else ""), flush=True)

