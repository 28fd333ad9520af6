#!/usr/bin/env python3
"""Writes hello-world.tar, the image that the Dockerfile beside this describes, as `hello-world:latest`.

    python3 make_image.py [--architecture amd64|arm64] [--output hello-world.tar]
    pier load -i hello-world.tar && pier run hello-world

The same bytes every time.
"""

import argparse
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]

import assemble  # noqa: E402
import oci_archive  # noqa: E402

EPOCH = 1_767_225_600  # 2026-01-01T00:00:00Z


def main():
    """Write the archive and print its path and the image's ID."""
    parser = argparse.ArgumentParser(description="make the hello-world image")
    parser.add_argument("--architecture", choices=sorted(assemble.MACHINES), default=None)
    parser.add_argument("--output", default=os.path.join(HERE, "hello-world.tar"))
    arguments = parser.parse_args()
    architecture = arguments.architecture or oci_archive.host_architecture()
    with tempfile.TemporaryDirectory() as scratch:
        layer = oci_archive.Layer(os.path.join(scratch, "layer.tar"), EPOCH)
        layer.file("hello", assemble.assemble(architecture), 0o755)
        layer.close()
        config = {"Cmd": ["/hello"], "Env": [oci_archive.PATH], "WorkingDir": "/"}
        image = oci_archive.write(arguments.output, "hello-world:latest", layer.path, config, architecture, EPOCH)
    print(arguments.output, image)


if __name__ == "__main__":
    main()
