import socket
from pathlib import Path
from typing import Any

import pytest

from pier.client.session import ApiError, Client, ConnectionFailed, stream_documents
from tests.unit.client.fake_daemon import FakeDaemon, reply


def test_speaks_the_lower_version_of_both_sides(tmp_path: Path) -> None:
    for theirs, spoken in (("1.40", "1.40"), ("1.99", "1.51")):
        folder = tmp_path / theirs
        folder.mkdir()
        daemon = FakeDaemon(folder, {"GET /info": {"ok": 1}}, theirs)
        client = Client(daemon.host)
        assert client.get("/info") == {"ok": 1}
        assert client.version == spoken
        assert client.get("/info") == {"ok": 1}
        assert [line for line, _ in daemon.seen] == ["GET /info"] * (3 if spoken == "1.40" else 2)  # no ping: the refusal tells the version
        daemon.close()


def test_another_refusal_stays_the_answer(tmp_path: Path) -> None:
    daemon = FakeDaemon(tmp_path, {"GET /info": reply(400, {"message": "bad filter"})})
    with pytest.raises(ApiError, match=r"^Error response from daemon: bad filter$"):
        Client(daemon.host).get("/info")
    assert [line for line, _ in daemon.seen] == ["GET /info"]


def test_what_can_be_sent_only_once_is_sent_in_the_right_version(tmp_path: Path) -> None:
    def once(_: FakeDaemon, connection: socket.socket, *__: Any) -> bool:
        connection.sendall(reply(200, {}))
        return False  # the chunks are nobody's here

    daemon = FakeDaemon(tmp_path, {"POST /images/load": once}, "1.40")
    Client(daemon.host).open("POST", "/images/load", raw=b"x").close()
    client = Client(daemon.host)
    client.open("POST", "/images/load", raw=iter([b"x"])).close()
    assert client.version == "1.40"
    assert [line for line, _ in daemon.seen] == ["POST /images/load", "POST /images/load", "HEAD /_ping", "POST /images/load"]


def test_a_daemon_of_an_unknown_version_is_no_traceback(tmp_path: Path) -> None:
    daemon = FakeDaemon(tmp_path, {"GET /info": reply(200, {}, "Api-Version: new\r\n")})
    with pytest.raises(ConnectionFailed, match="unknown version of the API: 'new'"):
        Client(daemon.host).get("/info")


def test_a_pinned_version_is_not_negotiated(tmp_path: Path) -> None:
    daemon = FakeDaemon(tmp_path, {"GET /info": {}})
    Client(daemon.host, "1.30").get("/info")
    assert [line for line, _ in daemon.seen] == ["GET /info"]


def test_errors_carry_the_daemons_words(tmp_path: Path) -> None:
    daemon = FakeDaemon(tmp_path, {"GET /a": reply(409, {"message": "no way\n"}), "GET /b": reply(500, b"plain"), "GET /c": reply(503)})
    client = Client(daemon.host)
    with pytest.raises(ApiError, match=r"^Error response from daemon: no way$") as caught:
        client.get("/a")
    assert caught.value.status == 409
    with pytest.raises(ApiError, match=r"daemon: plain$"):
        client.get("/b")
    with pytest.raises(ApiError, match="request returned 503 for API route and version"):
        client.get("/c")


def test_an_idle_connection_that_was_closed_is_replaced(tmp_path: Path) -> None:
    def once(_: FakeDaemon, connection: socket.socket, *__: Any) -> bool:
        connection.sendall(reply(200, {"n": 1}))
        return False  # closes behind the answer, without having said so

    daemon = FakeDaemon(tmp_path, {"GET /x": once})
    client = Client(daemon.host)
    assert [client.get("/x")["n"] for _ in range(3)] == [1, 1, 1]


def test_an_answer_in_the_middle_of_an_upload_is_heard(tmp_path: Path) -> None:
    def refuse(_: FakeDaemon, connection: socket.socket, *__: Any) -> bool:
        connection.sendall(reply(400, {"message": "not an archive"}, "Connection: close\r\n"))
        connection.shutdown(socket.SHUT_RD)
        return False

    daemon = FakeDaemon(tmp_path, {"POST /images/load": refuse})
    with pytest.raises((ApiError, ConnectionFailed), match=r"not an archive|error during connect"):
        Client(daemon.host).open("POST", "/images/load", raw=iter([b"x" * 65536] * 200))


def test_nobody_there(tmp_path: Path) -> None:
    calls: list[int] = []

    def refused() -> bool:
        calls.append(1)
        return False

    client = Client(f"unix://{tmp_path}/no.sock", on_refused=refused)
    with pytest.raises(ConnectionFailed, match=r"Cannot connect to the Pier daemon at unix:///.*no.sock\. Is the pier daemon running\?"):
        client.get("/info")
    assert calls == [1]


def test_documents_of_a_stream_that_breaks_anywhere() -> None:
    data = '{"a":"é"}\r\n{"b":{"c":[1]}}\n'.encode()
    for size in range(1, len(data)):
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        assert list(stream_documents(pieces)) == [{"a": "é"}, {"b": {"c": [1]}}]
    with pytest.raises(ConnectionFailed):
        list(stream_documents([b'{"a":1}\n{"b":']))
