"""Execs on the wire: requests and answers of the /exec routes (Engine API 1.51)."""

import msgspec
from msgspec import UNSET, UnsetType

from pier.api.models.base import Model


class ExecCreateRequest(Model, kw_only=True):
    """Body of POST /containers/{id}/exec."""

    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    console_size: list[int] | None = None
    detach_keys: str = ""
    tty: bool = False
    env: list[str] | None = None
    cmd: list[str] | str | None = None
    privileged: bool = False
    user: str = ""
    working_dir: str = ""
    detach: bool = False


class ExecStartRequest(Model, kw_only=True):
    """Body of POST /exec/{id}/start."""

    detach: bool = False
    tty: bool = False
    console_size: list[int] | None = None


class ExecCreateResponse(Model, kw_only=True):
    id: str


class ProcessConfig(msgspec.Struct, kw_only=True):
    """What an exec runs; lower-case on the wire."""

    tty: bool
    entrypoint: str
    arguments: list[str]
    privileged: bool
    user: str | UnsetType = UNSET


class ExecInspect(Model, kw_only=True):
    id: str = msgspec.field(name="ID")
    running: bool
    exit_code: int | None
    process_config: ProcessConfig
    open_stdin: bool
    open_stderr: bool
    open_stdout: bool
    can_remove: bool
    container_id: str = msgspec.field(name="ContainerID")
    detach_keys: str
    pid: int
