"""The harness itself: its leak check sees what it should, and its canary dies audibly. Proven without trusting the engine."""

from collections import Counter

import pytest

from tests.harness import leaks
from tests.harness.canary import Canary
from tests.harness.engine import Engine, Namespaces


def test_the_difference_names_both_directions() -> None:
    assert leaks.difference(Counter(a=1, b=2), Counter(b=1, c=3)) == ["-1 a", "-1 b", "+3 c"]


def test_orphans_in_the_namespaces_are_seen_and_killed(tmp_path_factory: pytest.TempPathFactory) -> None:
    namespaces = Namespaces()
    log = tmp_path_factory.mktemp("holder") / "log"
    first = namespaces.spawn(["/bin/sh", "-c", "setsid sleep 1000 & sleep 0.1"], {"PATH": "/bin:/usr/bin"}, log)
    while namespaces.exit_code(first) is None:
        pass
    (orphan,) = namespaces.processes()
    namespaces.close()
    with pytest.raises(FileNotFoundError), open(f"/proc/{orphan}/stat"):
        pass


def test_a_leak_of_each_kind_is_seen(fresh_engine: Engine) -> None:
    before = leaks.snapshot(fresh_engine)
    made = fresh_engine.api("POST", "/containers/create", {"Image": "busybox:latest", "Cmd": ["sleep", "60"]}).ok(201).json["Id"]
    fresh_engine.api("POST", f"/containers/{made}/start").ok(204)
    (fresh_engine.exec_root / "forgotten").write_text("")
    from tests.harness.commands import run

    run(fresh_engine.namespaces.argv("ip", "link", "add", "leaked0", "type", "bridge")).ok()
    run(fresh_engine.namespaces.argv("nft", "add", "table", "inet", "leaked")).ok()
    seen = "\n".join(leaks.difference(before, leaks.snapshot(fresh_engine)))
    kinds = ("processes: sleep", "cgroups: ", "network: link leaked0", "network: nft table inet leaked", "descriptors: ", "files: exec/forgotten")
    for kind in (*kinds, "records: containers: 1"):
        assert kind in seen, f"{kind} not in\n{seen}"


def test_a_canary_that_was_restarted_is_noticed(fresh_engine: Engine) -> None:
    canary = Canary.start(fresh_engine)
    canary.check()
    fresh_engine.api("POST", f"/containers/{canary.id}/restart", t=0).ok(204)
    with pytest.raises(AssertionError, match="the canary changed"):
        canary.check()
