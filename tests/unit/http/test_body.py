"""JSON bodies: Go's leniency and Go's error texts. The texts were seen from a 28.5 engine, the last two of each table read off Go's source."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.api.models.containers import CreateRequest
from pier.api.models.execs import ExecStartRequest
from pier.errors import Invalid
from pier.http.body import check_content_type, decode
from pier.http.gosyntax import complaint


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "invalid JSON: got EOF while reading request body"),
        (b" \n", "invalid JSON: got EOF while reading request body"),
        (b'{"Image":', "invalid JSON: unexpected EOF"),
        (b"{", "invalid JSON: unexpected EOF"),
        (b'{"Image":"busybox"}{"a":1}', "unexpected content after JSON"),
        (b'{"Image":5}', "invalid JSON: json: cannot unmarshal number into Go struct field .Image of type string"),
        (b'{"Tty":"yes"}', "invalid JSON: json: cannot unmarshal string into Go struct field .Tty of type bool"),
        (b'{"HostConfig":{"Memory":"1g"}}', "invalid JSON: json: cannot unmarshal string into Go struct field .HostConfig.Memory of type int64"),
        (
            b'{"HostConfig":{"Memory":9223372036854775808}}',
            "invalid JSON: json: cannot unmarshal number 9223372036854775808 into Go struct field .HostConfig.Memory of type int64",
        ),
        (b"[]", "invalid JSON: json: cannot unmarshal array into Go value of type struct"),
        (b"rubbish", "invalid JSON: invalid character 'r' looking for beginning of value"),
        (b"{x}", "invalid JSON: invalid character 'x' looking for beginning of object key string"),
        (b'{"Image" "x"}', "invalid JSON: invalid character '\"' after object key"),
        (b'{"Image":"x" "Cmd":[]}', "invalid JSON: invalid character '\"' after object key:value pair"),
        (b'{"Cmd":["x" "y"]}', "invalid JSON: invalid character '\"' after array element"),
    ],
)
def test_broken_bodies_are_named_as_the_engine_does(data: bytes, text: str) -> None:
    with pytest.raises(Invalid) as caught:
        decode(data, CreateRequest)
    assert str(caught.value) == text


def test_names_match_in_any_case_and_the_exact_one_wins() -> None:
    assert decode(b'{"image":"a","hostconfig":{"AUTOREMOVE":true}}', CreateRequest).host_config.auto_remove is True  # type: ignore[union-attr]
    assert decode(b'{"image":"a","Image":"b","IMAGE":"c"}', CreateRequest).image == "b"
    assert decode(b'{"Labels":{"Key":"v","key":"w"}}', CreateRequest).labels == {"Key": "v", "key": "w"}


def test_null_leaves_the_default_but_keeps_the_keys_of_maps() -> None:
    body = decode(b'{"Image":null,"Tty":null,"Env":null,"HostConfig":{"LogConfig":null,"PortBindings":{"80/tcp":null}}}', CreateRequest)
    assert (body.image, body.tty, body.env) == ("", False, None)
    assert body.host_config is not None
    assert body.host_config.log_config.type == ""
    assert body.host_config.port_bindings == {"80/tcp": None}
    assert decode(b'{"Labels":{"a":null}}', CreateRequest).labels == {"a": ""}


def test_unknown_fields_are_ignored_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", "pier.http"):
        assert decode(b'{"Image":"a","Nope":1,"HostConfig":{"Later":{}}}', CreateRequest).image == "a"
    assert "Nope, HostConfig.Later" in caplog.text


@pytest.mark.parametrize(
    ("value", "has_body", "text"),
    [
        ("text/plain", True, "unsupported Content-Type header (text/plain): must be 'application/json'"),
        ("", True, "malformed Content-Type header (): mime: no media type"),
        (None, True, "malformed Content-Type header (): mime: no media type"),
        ("text/plain; charset=utf-8", False, "unsupported Content-Type header (text/plain; charset=utf-8): must be 'application/json'"),
    ],
)
def test_content_types_that_are_refused(value: str | None, has_body: bool, text: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_content_type(value, has_body=has_body)
    assert str(caught.value) == text


def test_content_types_that_are_taken() -> None:
    check_content_type(None, has_body=False)
    check_content_type("application/json", has_body=True)
    check_content_type("Application/JSON; charset=utf-8", has_body=True)


@given(st.binary(max_size=60) | st.text('{}[]",:truefalsn0123456789.-eE\\ ', max_size=40).map(str.encode))
def test_any_body_is_taken_or_refused_by_invalid(data: bytes) -> None:
    try:
        decode(data, CreateRequest)
        decode(data, ExecStartRequest)
    except Invalid as error:
        assert str(error)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"tru", "unexpected EOF"),
        (b"trux", "invalid character 'x' in literal true (expecting 'e')"),
        (b'"a\nb"', "invalid character '\\n' in string literal"),
        (b'"\\q"', "invalid character 'q' in string escape code"),
        (b'"\\u12x4"', "invalid character 'x' in \\u hexadecimal character escape"),
        (b"[1.x]", "invalid character 'x' after decimal point in numeric literal"),
        (b"[1e]", "invalid character ']' in exponent of numeric literal"),
        (b"[-x]", "invalid character 'x' in numeric literal"),
        (b"[01]", "invalid character '1' after array element"),
        (b"[1,]", "invalid character ']' looking for beginning of value"),
        (b'{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        (b"[}", "invalid character '}' looking for beginning of value"),
        (b'{"a":[{"b":null}', "unexpected EOF"),
        (b'{"a":[{"b":null}]} trailing', ""),
    ],
)
def test_the_scanner_says_what_go_says(data: bytes, reason: str) -> None:
    assert complaint(data) == reason


@given(st.text('{}[]",:truefalsn0123456789.-eE\\ \n', max_size=30).map(str.encode))
def test_the_scanner_finds_a_fault_exactly_where_the_parser_does(data: bytes) -> None:
    try:
        json.loads(data)
    except ValueError as error:
        assert complaint(data) or "Extra data" in str(error) or b"u" in data or not data.strip()
    else:
        assert complaint(data) == ""
