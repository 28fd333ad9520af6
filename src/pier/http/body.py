"""JSON bodies, read as Docker's engine reads them: Go's leniency (letter case, null), Go's error texts.

Go's encoding/json matches names without regard to case, takes `null` for any field as "leave the zero value" and
ignores unknown names. Docker's clients rely on the first two, so a body is first brought into the declared shape and
then converted strictly.
"""

import logging
import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar, cast

import msgspec
from msgspec import inspect

from pier.errors import Invalid
from pier.http.gosyntax import complaint

T = TypeVar("T")
_log = logging.getLogger("pier.http")
_TYPED = re.compile(r"Expected `(?P<want>[^`]+)`, got `(?P<got>[^`]+)`(?: - at `\$(?P<path>[^`]*)`)?")
_GO_KINDS = {"int": "number", "float": "number", "str": "string", "bool": "bool", "array": "array", "object": "object", "null": "null"}
_GO_TYPES = {"str": "string", "int": "int64", "bool": "bool", "float": "float64", "array": "[]string", "object": "struct"}
_SHOWN_BITS = 256


def check_content_type(value: str | None, *, has_body: bool) -> None:
    """Refuse a body that is not said to be JSON, with Docker's texts. A missing header is right where there is no body.

    Raises Invalid.
    """
    if value is None and not has_body:
        return
    kind = (value or "").partition(";")[0].strip().lower()
    if not kind:
        raise Invalid(f"malformed Content-Type header ({value or ''}): mime: no media type")
    if not re.fullmatch(r"[!-~]+/[!-~]+|[a-z0-9.+-]+", kind):
        raise Invalid(f"malformed Content-Type header ({value}): mime: expected slash after first token")
    if kind != "application/json":
        raise Invalid(f"unsupported Content-Type header ({value}): must be 'application/json'")


def decode(data: bytes, kind: type[T]) -> T:
    """The value of a JSON body.

    Raises Invalid with the text that Docker's engine answers: broken JSON, something behind it, a value of the wrong kind.
    """
    if not data.strip():
        raise Invalid("invalid JSON: got EOF while reading request body")
    try:
        raw = msgspec.json.decode(data)
    except RecursionError:
        raise Invalid("invalid JSON: exceeded max depth") from None
    except msgspec.DecodeError as error:
        raise Invalid(_syntax(data, str(error))) from None
    unknown: list[str] = []
    value = _shaped(raw, _shape(cast(Hashable, kind)), "", unknown)
    if unknown:
        _log.debug("ignored unknown fields of a %s: %s", kind.__name__, ", ".join(unknown[:20]))
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise Invalid(_mismatch(str(error))) from None


def _syntax(data: bytes, text: str) -> str:
    if reason := complaint(data):
        return f"invalid JSON: {reason}"
    # the first value is whole: the fault is behind it, or where Go is more lenient (invalid UTF-8)
    return "unexpected content after JSON" if "trailing" in text else f"invalid JSON: {text}"


def _mismatch(text: str) -> str:
    found = _TYPED.search(text)
    if not found:
        return f"invalid JSON: {text}"
    path = re.sub(r"\[[^\]]*\]", "", found["path"] or "").lstrip(".")
    got = _GO_KINDS.get(found["got"], found["got"])
    want = _GO_TYPES.get(found["want"].partition(" ")[0], found["want"])
    if not path:
        return f"invalid JSON: json: cannot unmarshal {got} into Go value of type {want}"
    return f"invalid JSON: json: cannot unmarshal {got} into Go struct field .{path} of type {want}"


@dataclass
class _Shape:
    """What a type wants to see: the names of an object, the shape of members, what stands for null."""

    names: dict[str, tuple[str, "_Shape"]] | None = None  # lower-case name -> (name on the wire, shape)
    values: "_Shape | None" = None
    items: "_Shape | None" = None
    nullable: bool = False
    zero: Any = None
    exact: frozenset[str] = field(default_factory=frozenset)


@lru_cache(maxsize=256)
def _shape(kind: Any) -> _Shape:
    return _shape_of(inspect.type_info(kind))


def _shape_of(info: inspect.Type) -> _Shape:
    if isinstance(info, inspect.UnionType):
        parts = [_shape_of(part) for part in info.types if not isinstance(part, inspect.NoneType)]
        merged = _Shape(nullable=len(parts) < len(info.types), zero=parts[0].zero if parts else None)
        for part in parts:
            merged.names = merged.names or part.names
            merged.values = merged.values or part.values
            merged.items = merged.items or part.items
        merged.exact = frozenset(name for name, _ in (merged.names or {}).values())
        return merged
    if isinstance(info, inspect.StructType):
        names = {entry.encode_name.lower(): (entry.encode_name, _shape_of(entry.type)) for entry in info.fields}
        return _Shape(names=names, zero={}, exact=frozenset(name for name, _ in names.values()))
    if isinstance(info, inspect.DictType):
        return _Shape(values=_shape_of(info.value_type), zero={})
    if isinstance(info, inspect.ListType):
        return _Shape(items=_shape_of(info.item_type), zero=[])
    zeros: list[tuple[type, Any]] = [(inspect.StrType, ""), (inspect.BoolType, False), (inspect.IntType, 0), (inspect.FloatType, 0.0)]
    return _Shape(zero=next((zero for type_, zero in zeros if isinstance(info, type_)), None))


def _shaped(value: Any, shape: _Shape, path: str, unknown: list[str]) -> Any:
    if isinstance(value, dict):
        if shape.names is not None:
            result = {}
            for key, member in value.items():
                known = shape.names.get(key.lower())
                if known is None:
                    unknown.append(f"{path}{key}")
                    continue
                name, inner = known
                if member is None or (key != name and key not in shape.exact and name in value):
                    continue  # null leaves the default; the exact name wins over one of other case
                result[name] = _shaped(member, inner, f"{path}{name}.", unknown)
            return result
        if shape.values is not None:
            return {key: _member(member, shape.values, f"{path}{key}.", unknown) for key, member in value.items()}
    elif isinstance(value, list) and shape.items is not None:
        return [_member(member, shape.items, path, unknown) for member in value]
    elif type(value) is int and not -(1 << 63) <= value < 1 << 63:
        shown = f"number {value}" if value.bit_length() < _SHOWN_BITS else "number"
        raise Invalid(f"invalid JSON: json: cannot unmarshal {shown} into Go struct field .{path.rstrip('.')} of type int64")
    return value


def _member(value: Any, shape: _Shape, path: str, unknown: list[str]) -> Any:
    if value is None:
        return None if shape.nullable else shape.zero
    return _shaped(value, shape, path, unknown)
