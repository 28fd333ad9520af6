"""Messages and attributes, also such as no sane kernel sends."""

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.linux import netlink, nftables
from pier.linux.netlink import attribute, attribute_map, attributes, mac_bytes, nested, string, text


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=50)), max_size=8))
def test_attributes_come_back_as_they_were(pairs: list[tuple[int, bytes]]) -> None:
    data = b"".join(attribute(kind, payload) for kind, payload in pairs)
    assert len(data) % 4 == 0
    assert list(attributes(data)) == pairs


def test_a_nested_attribute_is_found_by_its_plain_type() -> None:
    data = nested(18, text(1, "veth"))
    assert string(attribute_map(attribute_map(data)[18])[1]) == "veth"


@given(st.binary(max_size=200), st.integers(0, 20))
def test_nonsense_is_read_without_an_error(data: bytes, offset: int) -> None:
    for _, payload in attributes(data, offset):
        assert payload in data
    for *_, body in netlink._split(data):
        assert body in data
    nftables._comment(data)


def failure(code: int, words: str = "") -> netlink.NetlinkError | None:
    refused = struct.pack("=IHHII", 16, 16, 5, 1, 0)
    body = struct.pack("=i", -code) + refused + (text(1, words) if words else b"")
    return netlink._failure(0x100 | (0x200 if words else 0), body, "veth x")


def test_an_error_names_what_was_asked_and_repeats_the_kernels_words() -> None:
    assert failure(0) is None
    error = failure(errno.EEXIST, "Device name already in use")
    assert error is not None and error.errno == errno.EEXIST
    assert str(error) == "[Errno 17] veth x: File exists (Device name already in use)"
    assert str(failure(errno.ENODEV)) == "[Errno 19] veth x: No such device"


@pytest.mark.parametrize("mac", ["", "02:42", "02:42:ac:11:00:zz", "02:42:ac:11:00:02:03"])
def test_what_is_no_mac_is_refused(mac: str) -> None:
    with pytest.raises(ValueError):
        mac_bytes(mac)


def test_a_comment_is_found_behind_other_user_data() -> None:
    assert nftables._comment(bytes((5, 2, 1, 1, 0, 3)) + b"ab\0") == "ab"
    assert nftables._comment(bytes((0, 200)) + b"cut") == "cut"
    assert nftables._comment(b"") == ""
