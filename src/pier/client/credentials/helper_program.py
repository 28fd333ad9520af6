"""Programs that keep credentials for Docker: `docker-credential-NAME get|store|erase|list`, a request on stdin, the answer on stdout.

Source: the protocol in the README of docker/docker-credential-helpers. A failure is told on stdout with an exit status of 1. What the helper
writes to stderr is the user's to see. A helper may ask the user something, so its limit is generous.
"""

import os
import select
import time

from pier.client import jsontext
from pier.client.credentials.auth import TOKEN_USER, AuthConfig, CredentialError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

LIMIT_S = 120.0
MAX_ANSWER_BYTES = 1 << 20
_SIGKILL, _SIGPIPE = 9, 13
_NOT_FOUND = "credentials not found in native keychain"
_FAILED = {"get": "getting", "store": "storing", "erase": "erasing", "list": "listing"}


class _Failed(Exception):
    """The helper ended with a failure, or did not answer; `said` is the text for the user, `output` its own."""

    def __init__(self, said: str, output: str = "") -> None:
        self.said = said
        self.output = output
        super().__init__(said)


class Helper:
    """The helper called `name`. All methods raise CredentialError that names the program."""

    def __init__(self, name: str, environ: "Mapping[str, str]", limit_s: float = LIMIT_S) -> None:
        if not name or not all(char.isascii() and (char.isalnum() or char in "._-") for char in name):
            raise CredentialError(f"config.json: {name!r} is no name of a credential helper")
        self.program = f"docker-credential-{name}"
        self._environ = environ
        self._limit_s = limit_s

    def get(self, server: str) -> AuthConfig | None:
        """The login at a server, None where the helper has none."""
        try:
            found = self._object("get", self._ask("get", server))
        except _Failed as failure:
            if failure.output == _NOT_FOUND:
                return None
            raise self._error("get", failure) from None
        username, secret = found.get("Username"), found.get("Secret")
        if not isinstance(username, str) or not isinstance(secret, str):
            raise CredentialError(f"error getting credentials - {self.program} answered without Username and Secret")
        if username == TOKEN_USER:
            return AuthConfig(server, identity_token=secret)
        return AuthConfig(server, username, secret)

    def put(self, auth: AuthConfig) -> None:
        """Keep a login."""
        username = TOKEN_USER if auth.identity_token else auth.username
        try:
            self._ask("store", jsontext.encode({"ServerURL": auth.server, "Username": username, "Secret": auth.secret}))
        except _Failed as failure:
            raise self._error("store", failure) from None

    def drop(self, server: str) -> None:
        """Forget a login."""
        try:
            self._ask("erase", server)
        except _Failed as failure:
            raise self._error("erase", failure) from None

    def logged_in(self) -> list[str]:
        """The servers that it has logins for."""
        try:
            return list(self._object("list", self._ask("list", "")))
        except _Failed as failure:
            raise self._error("list", failure) from None

    def _error(self, action: str, failure: _Failed) -> CredentialError:
        said = "".join(char if char.isprintable() else " " for char in failure.output[:500]).strip()
        return CredentialError(f"error {_FAILED[action]} credentials - {self.program}: {failure.said}" + (f", out: `{said}`" if said else ""))

    def _object(self, action: str, answer: bytes) -> "dict[str, Any]":
        try:
            found = jsontext.decode(answer)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise CredentialError(f"error {_FAILED[action]} credentials - {self.program} answered something that is no JSON object")
        return found

    def _ask(self, action: str, request: str) -> bytes:
        path = self._find()
        stdin_read, stdin_write = os.pipe2(os.O_CLOEXEC)
        stdout_read, stdout_write = os.pipe2(os.O_CLOEXEC)
        streams = [(os.POSIX_SPAWN_DUP2, stdin_read, 0), (os.POSIX_SPAWN_DUP2, stdout_write, 1)]
        try:
            pid = os.posix_spawn(path, [self.program, action], dict(self._environ), file_actions=streams, setsigdef=[_SIGPIPE])
        except OSError as error:
            os.close(stdin_write)
            os.close(stdout_read)
            raise _Failed(f"{path}: {error.strerror}") from None
        finally:
            os.close(stdin_read)
            os.close(stdout_write)
        try:
            return _talk(pid, stdin_write, stdout_read, request.encode(), time.monotonic() + self._limit_s, self._limit_s)
        finally:
            os.close(stdout_read)

    def _find(self) -> str:
        for folder in self._environ.get("PATH", os.defpath).split(":"):
            path = f"{folder}/{self.program}"
            if folder.startswith("/") and os.access(path, os.X_OK) and os.path.isfile(path):
                return path
        raise _Failed("executable file not found in $PATH")


def _talk(pid: int, stdin: int, stdout: int, request: bytes, end: float, limit_s: float) -> bytes:
    """Write the request, read the answer, reap the process; closes `stdin`. Raises _Failed."""
    answer = b""
    trouble = ""
    os.set_blocking(stdin, False)
    poll = select.poll()
    poll.register(stdout, select.POLLIN)
    poll.register(stdin, select.POLLOUT)
    while True:
        ready = poll.poll(max(0.0, end - time.monotonic()) * 1000)
        if not ready:
            trouble = f"it did not answer within {limit_s:g} s and was ended"
            break
        if stdin >= 0 and any(fd == stdin for fd, _ in ready):
            try:
                request = request[os.write(stdin, request) :]
            except BrokenPipeError:
                request = b""  # it does not want to read it: its answer says why
            if not request:
                poll.unregister(stdin)
                os.close(stdin)
                stdin = -1
        if any(fd == stdout for fd, _ in ready):
            piece = os.read(stdout, 65536)
            if not piece:
                break
            answer += piece
            if len(answer) > MAX_ANSWER_BYTES:
                trouble = f"its answer is longer than {MAX_ANSWER_BYTES} bytes"
                break
    if stdin >= 0:
        os.close(stdin)
    return _ended(pid, answer, trouble, end, limit_s)


def _ended(pid: int, answer: bytes, trouble: str, end: float, limit_s: float) -> bytes:
    pidfd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if not trouble and not poll.poll(max(0.0, end - time.monotonic()) * 1000):
            trouble = f"it did not end within {limit_s:g} s and was ended"
        if trouble:
            os.kill(pid, _SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(pidfd)
    if trouble:
        raise _Failed(trouble)
    text = answer.decode("utf-8", "replace").strip()
    if code:
        raise _Failed(f"exit status {code}" if code > 0 else f"signal {-code}", text)
    return answer
