"""DNS messages, as far as a resolver for containers needs them: a question read strictly, answers written, lifetimes of a foreign answer. Pure.

Sources: RFC 1035 (messages), RFC 6891 (EDNS), RFC 2308 (negative answers), RFC 2181 section 8 (lifetimes).
"""

import ipaddress
import struct
from typing import NamedTuple

A, NS, CNAME, SOA, PTR, AAAA, OPT, ANY = 1, 2, 5, 6, 12, 28, 41, 255
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
_QR, _AA, _TC, _RD, _RA, _AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
OPCODE = 0x7800
HEADER = struct.Struct("!HHHHHH")
_OPT_BYTES, _RECORD_BYTES = 11, 12  # EDNS; a record before its data, its name a pointer
_PLAIN_UDP_BYTES, _MOST_UDP_BYTES = 512, 1232
_QUESTION_AT = 0xC00C  # a pointer to the question's name, which follows the header
MAX_NAME_BYTES = 255
MAX_MESSAGE_BYTES = 65535
_MOST_HOPS = 32  # pointers of one name: a chain of thousands, met by thousands of records, takes minutes to follow
_MOST_FURTHER = 8  # records behind a question: EDNS, a signature


class Malformed(Exception):
    """Not a message, or not one that may be answered."""


class Question(NamedTuple):
    """A query. name: lower case, without the last dot. size: bytes that the asker takes over UDP. wire: the question's own bytes, case kept."""

    number: int
    flags: int
    name: str
    kind: int
    klass: int
    size: int
    edns: bool
    dnssec: bool
    wire: bytes


def parse(data: bytes) -> Question:
    """The query in a packet. Raises Malformed for what is no query of one question."""
    if len(data) < HEADER.size:
        raise Malformed("shorter than a header")
    number, flags, questions, answers, authorities, further = HEADER.unpack_from(data)
    if flags & _QR or questions != 1 or answers or authorities or further > _MOST_FURTHER:
        raise Malformed("not a query of one question")
    name, offset = read_name(data, HEADER.size, pointers=False)  # one would lead into the header, which is another one outside
    if offset + 4 > len(data):
        raise Malformed("the question is cut short")
    kind, klass = struct.unpack_from("!HH", data, offset)
    wire = data[HEADER.size : offset + 4]
    size, edns, dnssec, at = _PLAIN_UDP_BYTES, False, False, offset + 4
    for _ in range(further):
        at, record = _record(data, at)
        if record.kind == OPT:
            edns, size, dnssec = True, max(_PLAIN_UDP_BYTES, min(record.klass, _MOST_UDP_BYTES)), bool(record.ttl & 0x8000)
    return Question(number, flags, name, kind, klass, size, edns, dnssec, wire)


def read_name(data: bytes, offset: int, *, pointers: bool = True) -> tuple[str, int]:
    """(the name in lower case, where what follows it begins). Raises Malformed; pointers lead backwards only, and not endlessly.

    A dot within a label is not the one between labels: it is written as in master files, `\\.`, so that two names never read the same.
    """
    labels: list[str] = []
    length = hops = 0
    end = -1
    before = offset
    while True:
        if offset >= len(data):
            raise Malformed("a name is cut short")
        size = data[offset]
        if size & 0xC0 == 0xC0:
            if offset + 1 >= len(data):
                raise Malformed("a name is cut short")
            target = (size & 0x3F) << 8 | data[offset + 1]
            if end < 0:
                end = offset + 2
            hops += 1
            if target >= before or hops > _MOST_HOPS or not pointers:
                raise Malformed("a name points forwards, or too often")
            offset = before = target
            continue
        if size & 0xC0:
            raise Malformed("an unknown kind of label")
        offset += 1
        if not size:
            return ".".join(labels), offset if end < 0 else end
        length += size + 1
        if offset + size > len(data) or length > MAX_NAME_BYTES - 1:
            raise Malformed("a name is too long or cut short")
        raw = data[offset : offset + size].lower()
        if b"." in raw or b"\\" in raw:
            raw = raw.replace(b"\\", b"\\\\").replace(b".", b"\\.")
        labels.append(raw.decode("latin-1"))
        offset += size


def write_name(name: str) -> bytes:
    """A name on the wire, uncompressed, in UTF-8. Raises ValueError for what cannot be a name."""
    out = bytearray()
    for label in name.split(".") if name else ():
        raw = label.encode()
        if not 0 < len(raw) < 64:
            raise ValueError(f"{label!r} is no label of a name")
        out.append(len(raw))
        out += raw
    if len(out) >= MAX_NAME_BYTES:
        raise ValueError(f"{name!r} is too long for a name")
    return bytes(out) + b"\0"


class _Record(NamedTuple):
    name: str
    kind: int
    klass: int
    ttl: int
    ttl_at: int
    data_at: int
    length: int


def _record(data: bytes, offset: int) -> tuple[int, _Record]:
    name, offset = read_name(data, offset)
    if offset + 10 > len(data):
        raise Malformed("a record is cut short")
    kind, klass, ttl, length = struct.unpack_from("!HHIH", data, offset)
    if offset + 10 + length > len(data):
        raise Malformed("a record is cut short")
    return offset + 10 + length, _Record(name, kind, klass, ttl, offset + 4, offset + 10, length)


def addresses(question: Question, found: "list[str]", ttl_s: int) -> bytes:
    """The answer with addresses of the question's family; an empty one says that the name is there and has none of that family.

    More than a message carries (an alias of thousands of containers) are left out.
    """
    size = 4 if question.kind == A else 16
    records = [packed for address in found if len(packed := ipaddress.ip_address(address).packed) == size]
    room = MAX_MESSAGE_BYTES - HEADER.size - len(question.wire) - _OPT_BYTES
    del records[room // (_RECORD_BYTES + size) :]
    return _answer(question, NOERROR, [struct.pack("!HHHIH", _QUESTION_AT, question.kind, IN, ttl_s, len(packed)) + packed for packed in records])


def names(question: Question, found: "list[str]", ttl_s: int) -> bytes:
    """The answer to a PTR question. A container's name may be none of DNS (too long, two dots): it is left out."""
    records = [written for name in found if (written := _written(name))]
    code = NOERROR if records else NXDOMAIN
    return _answer(question, code, [struct.pack("!HHHIH", _QUESTION_AT, PTR, IN, ttl_s, len(name)) + name for name in records])


def _written(name: str) -> bytes:
    try:
        return write_name(name)
    except ValueError:
        return b""


def refusal(question: Question, code: int) -> bytes:
    """An answer without records."""
    return _answer(question, code, [])


def is_query(data: bytes) -> bool:
    """Whether a packet is to be answered at all: it is a message, and no answer."""
    return len(data) >= HEADER.size and not data[2] & 0x80


def malformed(data: bytes) -> bytes:
    """What is said to a query that is none of one question: FORMERR under its number; nothing to what is no query."""
    if not is_query(data):
        return b""
    return HEADER.pack(int.from_bytes(data[:2], "big"), _QR | FORMERR, 0, 0, 0, 0)


def _answer(question: Question, code: int, records: "list[bytes]") -> bytes:
    flags = _QR | _RA | question.flags & (OPCODE | _RD | CD) | code
    opt = b"\0" + struct.pack("!HHIH", OPT, _MOST_UDP_BYTES, 0, 0) if question.edns else b""
    return HEADER.pack(question.number, flags, 1, len(records), 0, bool(opt)) + question.wire + b"".join(records) + opt


def fitted(answer: bytes, question: Question) -> bytes:
    """The answer for UDP: cut to the question, with TC set, where it is larger than the asker takes; he asks again over TCP then."""
    if len(answer) <= question.size:
        return answer
    flags = int.from_bytes(answer[2:4], "big") | _TC
    return HEADER.pack(question.number, flags, 1, 0, 0, 0) + question.wire


def asked_outside(question: Question, number: int) -> bytes:
    """The question for another server, under another number: as it was asked, but recursion is wanted, since we do none."""
    opt = b""
    if question.edns:
        opt = b"\0" + struct.pack("!HHIH", OPT, question.size, 0x8000 if question.dnssec else 0, 0)
    return HEADER.pack(number, question.flags & (_AD | CD) | _RD, 1, 0, 0, bool(opt)) + question.wire + opt


def is_truncated(answer: bytes) -> bool:
    """Whether an upstream server's answer says that there is more."""
    return bool(answer[2] & _TC >> 8)


def renumbered(packet: bytes, number: int) -> bytes:
    """The same packet under another number."""
    return number.to_bytes(2, "big") + packet[2:]


def fits(answer: bytes, question: Question, number: int) -> bool:
    """Whether a packet is an answer to that question, asked under `number`: what else comes in is forged or late."""
    if len(answer) < HEADER.size or int.from_bytes(answer[:2], "big") != number or not answer[2] & 0x80:
        return False
    if int.from_bytes(answer[4:6], "big") != 1:
        # A server may leave the question out where it refuses to read it.
        return answer[3] & 0xF in (FORMERR, NOTIMP, REFUSED, SERVFAIL) and int.from_bytes(answer[4:6], "big") == 0
    try:
        name, offset = read_name(answer, HEADER.size)
    except Malformed:
        return False
    return name == question.name and answer[offset : offset + 4] == struct.pack("!HH", question.kind, question.klass)


def lifetime_s(answer: bytes) -> int:
    """How long an answer may be kept: the least lifetime in it; of a negative one what its SOA says, 0 without. Raises Malformed."""
    code = answer[3] & 0xF
    if code not in (NOERROR, NXDOMAIN) or is_truncated(answer):
        return 0
    least = -1
    for record, section in _records(answer):
        if record.kind == OPT:
            continue
        ttl = record.ttl if record.ttl < 1 << 31 else 0
        if section == 1 and record.kind == SOA and int.from_bytes(answer[6:8], "big") == 0:
            ttl = min(ttl, int.from_bytes(answer[record.data_at + record.length - 4 : record.data_at + record.length], "big"))
        least = ttl if least < 0 else min(least, ttl)
    return max(least, 0)


def found_addresses(answer: bytes) -> "list[bytes]":
    """The addresses that an answer's records of A and AAAA hold, packed. Raises Malformed."""
    records = [record for record, section in _records(answer) if section == 0 and record.kind in (A, AAAA)]
    return [answer[record.data_at : record.data_at + record.length] for record in records]


def aged(answer: bytes, age_s: int) -> bytes:
    """A kept answer as it is now: every lifetime less its age. Raises Malformed."""
    out = bytearray(answer)
    for record, _ in _records(answer):
        if record.kind != OPT:
            struct.pack_into("!I", out, record.ttl_at, max(0, record.ttl - age_s))
    return bytes(out)


def _records(answer: bytes) -> "list[tuple[_Record, int]]":
    """(record, section: 0 answers, 1 authorities, 2 further) of a whole message."""
    questions, *counts = HEADER.unpack_from(answer)[2:]
    offset = HEADER.size
    for _ in range(questions):
        _, offset = read_name(answer, offset)
        offset += 4
    found = []
    for section, count in enumerate(counts):
        for _ in range(count):
            offset, record = _record(answer, offset)
            found.append((record, section))
    return found
