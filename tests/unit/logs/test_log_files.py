"""Writers and reader together, over rotation, compression, crashes and a full disk; both drivers by one suite."""

import asyncio
import errno
import json
import os
import select
from collections.abc import Callable
from pathlib import Path

import pytest

from pier.logs import files, reader
from pier.logs.changes import Changes
from pier.logs.reading import Entry, parse_time
from pier.logs.writer import LocalWriter, Writer, open_writer, rfc3339_nano

DRIVERS = pytest.mark.parametrize("driver", ["local", "json-file"])


def write(tmp_path: Path, driver: str, parts: list[tuple[int, bytes]], **options: str) -> Writer:
    writer = open_writer(driver, str(tmp_path / "c"), {name.replace("_", "-"): value for name, value in options.items()})
    for stream, data in parts:
        writer.write(stream, data)
    return writer


def read(tmp_path: Path, driver: str, **how: object) -> list[Entry]:
    async def collect() -> list[Entry]:
        wanted = {"stdout": True, "stderr": True, **how}
        return [entry async for entry in reader.read(str(tmp_path / "c"), driver, **wanted)]  # type: ignore[arg-type]

    return asyncio.run(collect())


def text(entries: list[Entry]) -> bytes:
    return b"".join(entry.data for entry in entries)


@DRIVERS
def test_lines_come_back_with_their_streams_over_the_borders_of_reads(tmp_path: Path, driver: str) -> None:
    write(tmp_path, driver, [(1, b"on"), (2, b"err\n"), (1, b"e\ntwo\n\nlast")]).close()
    entries = read(tmp_path, driver)
    assert sorted((entry.stream, entry.data) for entry in entries) == sorted([(1, b"one\n"), (2, b"err\n"), (1, b"two\n"), (1, b"\n"), (1, b"last")])
    assert text(read(tmp_path, driver, stderr=False)) == b"one\ntwo\n\nlast"


@DRIVERS
@pytest.mark.parametrize("tail", [0, 1, 2, 7, 40, 1000])
def test_the_tail_is_the_last_lines_also_over_rotated_files(tmp_path: Path, driver: str, tail: int) -> None:
    lines = [b"line %d\n" % number for number in range(60)]
    write(tmp_path, driver, [(1, line) for line in lines], max_size="1k", max_file="9", compress="true").close()
    names = files.older(files.path_of(driver, str(tmp_path / "c")) or "")
    assert len(names) >= 1 and all(name.endswith(".gz") for name in names)
    whole = text(read(tmp_path, driver)).splitlines(keepends=True)
    assert whole == lines
    assert text(read(tmp_path, driver, tail=tail)) == b"".join(lines[-tail:] if tail else [])


@DRIVERS
def test_the_tail_of_one_stream_among_the_other(tmp_path: Path, driver: str) -> None:
    write(tmp_path, driver, [(1, b"a\n"), (2, b"E1\n"), (1, b"b\nc\n"), (2, b"E2\n"), (1, b"d")]).close()
    assert text(read(tmp_path, driver, tail=2, stderr=False)) == b"c\nd"
    assert text(read(tmp_path, driver, tail=1, stdout=False)) == b"E2\n"


@DRIVERS
def test_no_more_files_than_asked_for_and_the_newest_lines_stay(tmp_path: Path, driver: str) -> None:
    write(tmp_path, driver, [(1, b"%06d\n" % number) for number in range(500)], max_size="1k", max_file="3").close()
    path = files.path_of(driver, str(tmp_path / "c")) or ""
    assert len(files.older(path)) == 2
    kept = text(read(tmp_path, driver)).split()
    assert kept[-1] == b"000499" and [int(line) for line in kept] == list(range(int(kept[0]), 500))


@DRIVERS
def test_since_and_until(tmp_path: Path, driver: str) -> None:
    writer = write(tmp_path, driver, [(1, b"one\n")])
    writer.write(1, b"two\n")
    writer.close()
    first, second = read(tmp_path, driver)
    assert first.time_ns < second.time_ns
    assert text(read(tmp_path, driver, since_ns=second.time_ns)) == b"two\n"
    assert text(read(tmp_path, driver, until_ns=first.time_ns)) == b"one\n"
    assert read(tmp_path, driver, since_ns=second.time_ns + 1) == []


@DRIVERS
def test_following_goes_over_rotations_and_ends_with_the_container(tmp_path: Path, driver: str) -> None:
    writer = write(tmp_path, driver, [(1, b"%05d\n" % number) for number in range(10)], max_size="2k", max_file="20", compress="true")
    seen: list[bytes] = []
    over: list[bool] = []

    async def follow() -> None:
        count = 10
        async for entry in reader.read(str(tmp_path / "c"), driver, stdout=True, stderr=True, follow=Changes(), running=lambda: not over):
            seen.append(entry.data)
            if len(seen) == count and count < 600:
                for number in range(count, count + 59):
                    writer.write(1, b"%05d\n" % number)
                count += 59
            elif len(seen) == count:
                writer.write(1, b"partial")
                writer.close()
                over.append(True)

    asyncio.run(follow())
    assert seen[-1] == b"partial"
    assert [int(line) for line in seen[:-1]] == list(range(600))


@pytest.mark.parametrize("there", [True, False], ids=["heard of", "polled"])
def test_following_a_log_that_begins_later(tmp_path: Path, there: bool) -> None:
    over: list[bool] = []
    if there:  # else there is nothing to watch yet
        (tmp_path / "c").mkdir()

    async def later(changes: Changes) -> None:
        await asyncio.sleep(0.05)
        write(tmp_path, "local", [(2, b"late\n")]).close()
        await asyncio.sleep(0.05)
        over.append(True)
        changes.tell(str(tmp_path / "c"))

    async def follow() -> list[bytes]:
        changes = Changes()
        writes = asyncio.create_task(later(changes))
        entries = reader.read(str(tmp_path / "c"), "local", stdout=True, stderr=True, follow=changes, running=lambda: not over)
        found = [entry.data async for entry in entries]
        await writes
        assert not changes
        return found

    before = len(os.listdir("/proc/self/fd"))
    assert asyncio.run(follow()) == [b"late\n"]
    assert len(os.listdir("/proc/self/fd")) == before


@DRIVERS
@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_torn_end_is_cut_at_the_next_opening_and_left_out_by_readers(tmp_path: Path, driver: str, cut: int) -> None:
    write(tmp_path, driver, [(1, b"whole\n"), (1, b"torn by a crash\n")]).close()
    path = Path(files.path_of(driver, str(tmp_path / "c")) or "")
    os.truncate(path, path.stat().st_size - cut)
    assert text(read(tmp_path, driver)) == b"whole\n"
    write(tmp_path, driver, [(1, b"after\n")]).close()
    assert text(read(tmp_path, driver)) == b"whole\nafter\n"


def test_a_flipped_byte_costs_its_frame_and_is_said(tmp_path: Path) -> None:
    write(tmp_path, "local", [(1, b"first\n"), (1, b"second\n"), (1, b"third\n")]).close()
    path = tmp_path / "c/container.log"
    data = bytearray(path.read_bytes())
    data[22 + 3] ^= 0xFF  # in the head of the second frame
    path.write_bytes(data)
    got = text(read(tmp_path, "local"))
    assert b"first\n" in got and b"third\n" in got and b"second" not in got and b"damaged bytes" in got


@DRIVERS
def test_a_full_disk_is_counted_and_noted_when_there_is_room_again(tmp_path: Path, driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = write(tmp_path, driver, [(1, b"before\n")])
    real = os.writev

    def full(fd: int, buffers: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "writev", full)
    writer.write(1, b"lost\n")
    writer.write(2, b"too\n")
    monkeypatch.setattr(os, "writev", real)
    writer.write(1, b"after\n")
    writer.close()
    assert (writer.lost_bytes, writer.lost_cause) == (9, "No space left on device")
    entries = [(entry.stream, entry.data) for entry in read(tmp_path, driver)]
    assert entries == [(1, b"before\n"), (2, b"pier: 9 bytes of output were lost here: No space left on device\n"), (1, b"after\n")]


def test_a_short_write_leaves_no_half_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = write(tmp_path, "local", [(1, b"before\n")])
    real: Callable[..., int] = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, buffers: real(fd, [b"".join(bytes(part) for part in buffers)[:9]]))
    writer.write(1, b"cut short\n")
    monkeypatch.setattr(os, "writev", real)
    writer.write(1, b"after\n")
    writer.close()
    assert isinstance(writer, LocalWriter) and writer.lost_bytes == 10
    assert [entry.data for entry in read(tmp_path, "local") if entry.stream == 1] == [b"before\n", b"after\n"]


def test_json_file_is_dockers_own_format(tmp_path: Path) -> None:
    write(tmp_path, "json-file", [(1, b'say "<hi>" & \xff\xc3\xa9\t\n'), (2, b"x" * 20000 + b"\n")]).close()
    path = Path(reader.path(str(tmp_path / "c"), "json-file"))
    assert path.name == "c-json.log"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows[0]["log"] == 'say "<hi>" & \ufffd\u00e9\t\n' and rows[0]["stream"] == "stdout"
    assert "\\u003chi\\u003e" in path.read_text()
    assert [len(row["log"]) for row in rows[1:]] == [16384, 20001 - 16384]
    assert set(rows[0]) == {"log", "stream", "time"}


@pytest.mark.parametrize(
    ("time_ns", "stamp"), [(0, "1970-01-01T00:00:00Z"), (1_500_000_000, "1970-01-01T00:00:01.5Z"), (10**18 + 7, "2001-09-09T01:46:40.000000007Z")]
)
def test_times_as_go_writes_them(time_ns: int, stamp: str) -> None:
    assert rfc3339_nano(time_ns) == stamp
    assert parse_time(stamp) == time_ns


def test_the_driver_none_writes_and_reads_nothing(tmp_path: Path) -> None:
    write(tmp_path, "none", [(1, b"x")]).close()
    assert read(tmp_path, "none") == [] and reader.path(str(tmp_path / "c"), "none") == "" and not (tmp_path / "c").exists()


def test_a_log_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c/container.log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        open_writer("local", str(tmp_path / "c"), {})
    assert not (tmp_path / "elsewhere").exists()


def test_a_big_file_is_compressed_beside_the_writer_and_can_be_read_meanwhile_and_after(tmp_path: Path) -> None:
    lines = b"".join(b"%099d\n" % number for number in range(4000))
    writer = write(tmp_path, "local", [(1, lines), (1, lines), (1, b"end\n")], max_size="400k", max_file="5")
    packed = tmp_path / "c/container.log.1.gz"
    assert text(read(tmp_path, "local")).endswith(lines + b"end\n")
    deadline = 2000
    while not packed.exists() and deadline:
        deadline -= 1
        select.select([], [], [], 0.01)
    assert text(read(tmp_path, "local", tail=1)) == b"end\n"
    assert text(read(tmp_path, "local", lines=False)).endswith(lines + b"end\n") and packed.exists()
    writer.close()
