"""What the host mounts below a bind while the container runs: seen where a slave was asked for, and only there."""

import signal
import subprocess

from tests.harness.engine import Engine, Namespaces


def test_a_later_mount_reaches_a_slave_and_nobody_else() -> None:
    spaces = Namespaces()
    try:
        subprocess.run(spaces.argv("mount", "--make-rshared", "/"), check=True)
        with Engine(namespaces=spaces) as engine:
            engine.load_busybox()
            source = engine.roots / "source"
            (source / "below").mkdir(parents=True)
            for propagation in ("rslave", "rprivate"):
                engine.pier("run", "-d", "--name", propagation, "-v", f"{source}:/there:{propagation}", "busybox", "sleep", "60").ok()
            subprocess.run(spaces.argv("mount", "-t", "tmpfs", "later", str(source / "below")), check=True)
            try:
                assert "later /there/below tmpfs" in engine.pier("exec", "rslave", "cat", "/proc/mounts").ok().out
                assert "later" not in engine.pier("exec", "rprivate", "cat", "/proc/mounts").ok().out
            finally:
                subprocess.run(spaces.argv("umount", str(source / "below")), check=True)
            assert "later" not in engine.pier("exec", "rslave", "cat", "/proc/mounts").ok().out
            engine.pier("rm", "-f", "rslave", "rprivate").ok()
            engine.stop(signal.SIGQUIT)  # the namespaces are not the engine's own: they do not end with it
    finally:
        spaces.close()
