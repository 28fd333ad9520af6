"""`python -m benchmarks.dns_client SERVER NAME`: asks for one name over UDP and prints {"each_s", "median_ms"}; run in a container's namespace."""

import json
import random
import socket
import statistics
import struct
import sys
import time

_UNDER_WAY, _FOR_S, _ONE_BY_ONE = 16, 2.0, 500


def query(number: int, name: str) -> bytes:
    """A question for A records."""
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1)


def main() -> None:
    """Measure and print."""
    server, name = sys.argv[1:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((server, 53))
        sock.settimeout(5)
        took = []
        for _ in range(_ONE_BY_ONE):
            packet = query(random.randrange(65536), name)
            began = time.perf_counter()
            sock.send(packet)
            answer = sock.recv(2048)
            took.append(time.perf_counter() - began)
            assert answer[:2] == packet[:2] and answer[7] >= 1, f"no address of {name}"
        packet = query(7, name)
        for _ in range(_UNDER_WAY):
            sock.send(packet)
        count, began = 0, time.perf_counter()
        while (now := time.perf_counter()) - began < _FOR_S:
            sock.recv(2048)
            sock.send(packet)
            count += 1
    print(json.dumps({"each_s": count / (now - began), "median_ms": statistics.median(took) * 1000}))


if __name__ == "__main__":
    main()
