"""A volume plugin that tests can look into and make misbehave: an HTTP server on a socket, in threads of the test.

    with VolumePlugin(folder, "shelves") as plugin:     # folder/shelves.sock
        plugin.misbehave["VolumeDriver.Mount"] = "hang" # or die, garbage, endless, wrong, an error's text; taken away again by pop
"""

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False
    plugin: "VolumePlugin"


class VolumePlugin:
    """`volumes`: name -> options; `mounts`: the (volume, ID) that are mounted, as often as asked; `calls`: every method with its body."""

    def __init__(self, folder: Path, name: str, implements: str = "VolumeDriver", scope: str = "local") -> None:
        self.folder, self.name, self.implements, self.scope = folder, name, implements, scope
        self.volumes: dict[str, dict[str, str]] = {}
        self.mounts: list[tuple[str, str]] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.misbehave: dict[str, str] = {}
        self.ended = threading.Event()
        self._server: _Server | None = None

    def __enter__(self) -> "VolumePlugin":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.ended.set()
        self.stop()

    def start(self) -> None:
        """Listen."""
        self._server = _Server(str(self.folder / f"{self.name}.sock"), _Handler)
        self._server.plugin = self
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Die: the socket's name stays, as of a plugin that was killed; `start` after `forget`."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def forget(self) -> None:
        """Take the socket's name away."""
        (self.folder / f"{self.name}.sock").unlink(missing_ok=True)

    def path(self, volume: str) -> Path:
        """Where the volume's files are."""
        return self.folder / "data" / self.name / volume

    def answer(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        """What a good plugin says."""
        name = body.get("Name", "")
        if method == "Plugin.Activate":
            return {"Implements": [self.implements]}
        if method == "VolumeDriver.Capabilities":
            return {"Capabilities": {"Scope": self.scope}}
        if method == "VolumeDriver.List":
            return {"Volumes": [{"Name": name, "Mountpoint": str(self.path(name))} for name in self.volumes]}
        if method == "VolumeDriver.Create":
            self.volumes[name] = body.get("Opts") or {}
            self.path(name).mkdir(parents=True, exist_ok=True)
            return {}
        if name not in self.volumes:
            return {"Err": f"no volume {name} here"}
        if method == "VolumeDriver.Remove":
            del self.volumes[name]
        elif method == "VolumeDriver.Get":
            return {"Volume": {"Name": name, "Mountpoint": str(self.path(name)), "Status": {"shelf": 7}}}
        elif method == "VolumeDriver.Mount":
            self.mounts.append((name, body["ID"]))
            return {"Mountpoint": str(self.path(name))}
        elif method == "VolumeDriver.Path":
            return {"Mountpoint": str(self.path(name))}
        elif method == "VolumeDriver.Unmount":
            if (name, body["ID"]) not in self.mounts:
                return {"Err": f"{name} is not mounted for {body['ID']}"}
            self.mounts.remove((name, body["ID"]))
        return {}


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        plugin, method = self.server.plugin, self.path.lstrip("/")
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        plugin.calls.append((method, body))
        how = plugin.misbehave.get(method, "")
        try:
            if how == "hang":
                plugin.ended.wait(60)
            elif how == "garbage":
                self.wfile.write(b"\x00\x01 this is no HTTP\r\n" * 9)
            elif how == "endless":
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n" + b'{"Err":"')
                while not plugin.ended.is_set():
                    self.wfile.write(b"x" * 65536)
            elif how == "wrong":
                self._say({"Mountpoint": 7, "Volume": "x", "Volumes": {}, "Err": ["x"]})
            elif how == "relative":
                self._say({"Mountpoint": "../../etc"})
            elif how and how != "die":
                self._say({"Err": how})
            elif not how:
                self._say(plugin.answer(method, body))
        except OSError:
            pass  # the engine has hung up

    def _say(self, answer: dict[str, Any]) -> None:
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
