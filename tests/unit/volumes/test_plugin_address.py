import json
import socket
from pathlib import Path

import pytest

from pier.errors import Invalid
from pier.volumes import plugin_address
from pier.volumes.plugin_address import Address, TLSConfig


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("unix:///run/x.sock\n", Address(path="/run/x.sock")),
        ("tcp://localhost:8080", Address(host="localhost", port=8080)),
        ("http://[::1]", Address(host="::1", port=80)),
        ("https://h:1", Address(host="h", port=1, tls=TLSConfig())),
    ],
)
def test_addresses(url: str, address: Address) -> None:
    assert plugin_address.parse(url) == address


@pytest.mark.parametrize("url", ["", "unix://relative", "ftp://x", "tcp://", "tcp://h:99999", "x"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError):
        plugin_address.parse(url)


def test_folders_are_searched_for_sockets_first(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    (first / "deep").mkdir(parents=True)
    second.mkdir()
    for path in (second / "both.sock", first / "deep/deep.sock"):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
    (first / "both.spec").write_text("tcp://h:1")
    (first / "one.json").write_text(json.dumps({"Name": "x", "Addr": "https://h:2", "TLSConfig": {"CAFile": "/ca", "InsecureSkipVerify": True}}))
    (first / "bad name.spec").write_text("tcp://h:1")
    (first / "broken.json").write_text("{")
    (first / "file.sock").write_text("no socket")
    folders = [str(first), str(second), str(tmp_path / "nope")]
    assert plugin_address.names(folders) == ["both", "broken", "deep", "file", "one"]
    assert plugin_address.find("both", folders) == Address(path=str(second / "both.sock"))
    assert plugin_address.find("deep", folders) == Address(path=str(first / "deep/deep.sock"))
    assert plugin_address.find("one", folders) == Address(host="h", port=2, tls=TLSConfig(skip_verify=True, authority="/ca"))
    assert plugin_address.find("file", folders) is None and plugin_address.find("../a/both", folders) is None
    with pytest.raises(Invalid, match="broken"):
        plugin_address.find("broken", folders)
