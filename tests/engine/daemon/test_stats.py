"""`pier stats`, and streams of samples that outlive what they tell of."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

from tests.harness.commands import eventually
from tests.harness.engine import Engine


def test_the_command_of_ours(engine: Engine) -> None:
    busy = engine.pier("run", "-d", "-m", "64m", "--name", "busy", "busybox", "sh", "-c", "while :; do :; done").ok().line
    stopped = engine.pier("create", "--name", "stopped", "busybox", "true").ok().line
    template = "{{.Container}}|{{.CPUPerc}}|{{.MemUsage}}|{{.PIDs}}"
    lines = engine.pier("stats", "--no-stream", "--format", template, "busy", stopped).ok().out.splitlines()
    rows = {line.split("|")[0]: line.split("|")[1:] for line in lines}
    assert float(rows["busy"][0].rstrip("%")) > 0 and rows["busy"][1].endswith(" / 64MiB") and rows["busy"][2] == "1"
    assert rows[stopped] == ["0.00%", "0B / 0B", "0"]
    table = engine.pier("stats", "--no-stream").ok().out.splitlines()
    assert table[0].split("  ")[0] == "CONTAINER ID" and any(busy[:12] in line for line in table) and not any("stopped" in line for line in table)
    engine.pier("stats", "--no-stream", "nope").fails(1, "No such container: nope")


def test_a_live_table_ends_with_ctrl_c(engine: Engine) -> None:
    engine.pier("run", "-d", "--name", "seen", "busybox", "sleep", "60").ok()
    with engine.terminal("stats") as terminal:
        terminal.expect("seen")
        terminal.expect("seen")
        terminal.type("\x03")
        assert terminal.wait() == 130


def test_a_stream_goes_on_until_the_removal(engine: Engine) -> None:
    made = engine.pier("run", "-d", "busybox", "sleep", "60").ok().line
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(engine.api, "GET", f"/containers/{made}/stats")
        engine.pier("kill", made).ok()
        eventually(lambda: not engine.api.get(f"/containers/{made}/json")["State"]["Running"], says="it ends")
        time.sleep(1.1)  # a sample of what has ended: stats.EVERY_S
        assert not stream.done()
        engine.pier("rm", made).ok()
        samples = [json.loads(line) for line in stream.result(10).body.splitlines()]
    assert {sample["id"] for sample in samples} == {made} and samples[-1]["memory_stats"] == {}
