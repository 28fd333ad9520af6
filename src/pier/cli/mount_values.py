"""The value of `--mount`, as the API's Mount."""

from pier.cli.container_values import memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _mount_bool(key: str, value: str, given: bool) -> bool:
    if not given:
        return True
    if value in ("true", "1"):
        return True
    if value in ("false", "0"):
        return False
    raise ValueError(f"invalid value for {key}: {value}")


def csv_fields(text: str) -> list[str]:
    """The fields of one line of CSV. Raises ValueError."""
    if '"' not in text:
        return text.split(",")
    import csv

    try:
        return next(csv.reader([text], strict=True))
    except (csv.Error, StopIteration) as error:
        raise ValueError(str(error)) from None


def mount(text: str) -> "dict[str, Any]":
    """A value of --mount as the API's Mount. Raises ValueError with Docker's texts."""
    result: dict[str, Any] = {"Type": "volume"}
    if not text.strip():
        raise ValueError("value is empty")
    bind: dict[str, Any] = {}
    image: dict[str, Any] = {}
    tmpfs: dict[str, Any] = {}
    volume: dict[str, Any] = {}
    for field in csv_fields(text):
        key, equals, value = field.partition("=")
        key, given = key.lower(), bool(equals)
        if key in ("readonly", "ro"):
            result["ReadOnly"] = _mount_bool(key, value, given)
        elif key == "volume-nocopy":
            volume["NoCopy"] = _mount_bool(key, value, given)
        elif key == "bind-nonrecursive":
            bind["NonRecursive"] = _mount_bool(key, value, given)
        elif key == "bind-create-src":
            bind["CreateMountpoint"] = _mount_bool(key, value, given)
        elif not given:
            raise ValueError(f"invalid field '{field}' must be a key=value pair")
        elif key == "type":
            result["Type"] = value.lower()
        elif key in ("source", "src"):
            if value == "." or value.startswith(("./", "../")) or value == "..":
                import os

                value = os.path.abspath(value)
            result["Source"] = value
        elif key in ("target", "dst", "destination"):
            result["Target"] = value
        elif key == "idmap":
            result["IDMap"] = value
        elif key == "consistency":
            result["Consistency"] = value.lower()
        elif key == "bind-propagation":
            bind["Propagation"] = value.lower()
        elif key == "bind-recursive":
            _bind_recursive(bind, value)
        elif key == "volume-subpath":
            volume["Subpath"] = value
        elif key == "volume-driver":
            volume.setdefault("DriverConfig", {})["Name"] = value
        elif key == "volume-opt":
            name, _, option = value.partition("=")
            volume.setdefault("DriverConfig", {}).setdefault("Options", {})[name] = option
        elif key == "volume-label":
            name, _, label = value.partition("=")
            volume.setdefault("Labels", {})[name] = label
        elif key == "image-subpath":
            image["Subpath"] = value
        elif key == "tmpfs-size":
            try:
                tmpfs["SizeBytes"] = memory(value)
            except ValueError:
                raise ValueError(f"invalid value for {key}: {value}") from None
        elif key == "tmpfs-mode":
            try:
                tmpfs["Mode"] = int(value, 8)
            except ValueError:
                raise ValueError(f"invalid value for {key}: {value}") from None
        else:
            raise ValueError(f"unexpected key '{key}' in '{field}'")
    return _checked_mount(result, bind, volume, image, tmpfs)


def _bind_recursive(bind: "dict[str, Any]", value: str) -> None:
    if value == "disabled":
        bind["NonRecursive"] = True
    elif value == "writable":
        bind["ReadOnlyNonRecursive"] = True
    elif value == "readonly":
        bind["ReadOnlyForceRecursive"] = True
    elif value != "enabled":
        raise ValueError(f'invalid value for bind-recursive: {value} (must be "enabled", "disabled", "writable", or "readonly")')


def _checked_mount(
    result: "dict[str, Any]", bind: "dict[str, Any]", volume: "dict[str, Any]", image: "dict[str, Any]", tmpfs: "dict[str, Any]"
) -> "dict[str, Any]":
    kind = result["Type"]
    if not kind:
        raise ValueError("type is required")
    if "Target" not in result:
        raise ValueError("target is required")
    for name, options in (("bind", bind), ("volume", volume), ("image", image), ("tmpfs", tmpfs)):
        if options and kind != name:
            raise ValueError(f"cannot mix '{name}-*' options with mount type '{kind}'")
    order = ("Type", "Source", "Target", "ReadOnly", "Consistency", "IDMap")
    if bind.get("ReadOnlyForceRecursive"):
        if not result.get("ReadOnly"):
            raise ValueError("option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction")
        if bind.get("Propagation") != "rprivate":
            raise ValueError("option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction")
    if bind.get("ReadOnlyNonRecursive") and not result.get("ReadOnly"):
        raise ValueError("option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction")
    shown = {key: result[key] for key in order if result.get(key)}
    if bind:
        shown["BindOptions"] = bind
    if volume:
        shown["VolumeOptions"] = volume
    if image:
        shown["ImageOptions"] = image
    if tmpfs:
        shown["TmpfsOptions"] = {key: tmpfs[key] for key in ("SizeBytes", "Mode") if key in tmpfs}
    return shown
