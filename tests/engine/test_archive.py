"""Unpacking: what ordinary archives hold arrives, and none of a corpus of hostile ones leaves a trace outside."""

import bz2
import gzip
import io
import lzma
import os
import shutil
import stat
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlserver.engine import archive
from mlserver.engine.archive import unpack
from mlserver.errors import InvalidArchive


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type = kind
    for field, value in fields.items():
        setattr(found, field, value)
    return found


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    return member(name, kind, linkname=target)


def tar(*members: tarfile.TarInfo, content: bytes = b"x") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as written:
        for one in members:
            one.size = one.size or (len(content) if one.isreg() else 0)
            written.addfile(one, io.BytesIO(content) if one.isreg() else None)
    return buffer.getvalue()


def pax_chain(length: int) -> bytes:
    """Headers for the next header, one after the other, and no entry."""
    head = member("h", tarfile.XHDTYPE, size=11).tobuf(tarfile.USTAR_FORMAT)
    return (head + b"11 path=abc".ljust(512, b"\0")) * length + bytes(1024)


def zipped(*entries: tuple[str, int, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as written:
        for name, mode, content in entries:
            info = zipfile.ZipInfo(name, (2024, 1, 2, 3, 4, 6))
            info.external_attr = mode << 16
            written.writestr(info, content)
    return buffer.getvalue()


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder with a file in it that must be as it was afterwards, beside the one that is unpacked to."""
    (tmp_path / "work").mkdir()
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    victim.chmod(0o600)
    yield tmp_path
    assert victim.read_text() == "as it was"
    assert stat.S_IMODE(victim.stat().st_mode) == 0o600
    assert victim.stat().st_nlink == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["victim", "work"]
    assert {path.name for path in (tmp_path / "work").iterdir()} <= {"in", "out"}


def unpacked(content: bytes, folder: Path) -> Path:
    (folder / "work" / "in").write_bytes(content)
    unpack(folder / "work" / "in", folder / "work" / "out")
    return folder / "work" / "out"


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_what_an_ordinary_archive_holds(compress: Callable[[bytes], bytes], outside: Path) -> None:
    root = unpacked(
        compress(
            tar(
                member(".", tarfile.DIRTYPE),
                member("./bin", tarfile.DIRTYPE, mode=0o700),
                member("./bin/python3", mode=0o755, mtime=1_600_000_000),
                link("./bin/python", "python3"),
                member("lib/deep/er/module.py", mode=0o600),
                link("lib/deep/up", "../../bin/./python3"),
                link("lib/hard", "lib/deep/er/module.py", tarfile.LNKTYPE),
                link("nowhere", "not/there"),
            )
        ),
        outside,
    )
    python = root / "bin/python3"
    assert (python.stat().st_mode & 0o777, python.stat().st_mtime) == (0o755, 1_600_000_000)
    assert os.readlink(root / "bin/python") == "python3"
    assert (root / "lib/deep/up").read_bytes() == b"x"
    assert (root / "lib/deep/er/module.py").stat().st_mode & 0o111 == 0
    assert (root / "lib/hard").samefile(root / "lib/deep/er/module.py")
    assert not (root / "nowhere").exists()


def test_what_an_ordinary_zip_holds(outside: Path) -> None:
    root = unpacked(
        zipped(("bin/", 0, b""), ("bin/python3", 0o100755, b"x"), ("bin/python", 0o120777, b"python3")), outside
    )
    assert (root / "bin/python").read_bytes() == b"x"
    assert os.access(root / "bin/python3", os.X_OK)


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o7777])
def test_no_bit_but_executable_is_kept(mode: int, outside: Path) -> None:
    assert unpacked(tar(member("su", mode=mode)), outside).joinpath("su").stat().st_mode & 0o7000 == 0


HOSTILE = {
    "parent": (tar(member("../victim")), "has '..'"),
    "parent further in": (tar(member("a/b/../../../victim")), "has '..'"),
    "folder above": (tar(member("..", tarfile.DIRTYPE)), "has '..'"),
    "absolute": (tar(member("/tmp/victim")), "absolute"),
    "two slashes": (tar(member("//tmp/victim")), "absolute"),
    "no name": (tar(member("./")), "has no name"),
    "link out": (tar(link("a", "../victim")), "leads out"),
    "link out from below": (tar(link("a/b/c", "../../../victim")), "leads out"),
    "absolute link": (tar(link("a", "/etc/passwd")), "leads out"),
    "link out through a link": (tar(link("a/b/up", "../.."), link("c", "a/b/up/../victim")), "leads out"),
    "write through a link": (tar(link("a", "b"), member("a/victim")), "which is no folder"),
    "write through a link to a folder": (
        tar(member("b", tarfile.DIRTYPE), link("a", "b"), member("a/victim")),
        "which is no folder",
    ),
    "folder over a link": (
        tar(member("b", tarfile.DIRTYPE), link("a", "b"), member("a", tarfile.DIRTYPE)),
        "no folder",
    ),
    "link in place of a folder": (tar(member("a/b"), link("a", "c")), "twice"),
    "file over a link": (tar(link("a", "b"), member("a")), "twice"),
    "hard link out": (tar(link("a", "../victim", tarfile.LNKTYPE)), "has '..'"),
    "hard link to a link": (
        tar(link("a", "b"), member("b"), link("c", "a", tarfile.LNKTYPE)),
        "no file written before",
    ),
    "hard link through a link": (
        tar(member("d/b"), link("a", "d"), link("c", "a/b", tarfile.LNKTYPE)),
        "no file written before",
    ),
    "hard link to nothing": (tar(link("a", "b", tarfile.LNKTYPE)), "no file written before"),
    "hard link to itself": (tar(link("a", "", tarfile.LNKTYPE)), "no file written before"),
    "device": (tar(member("null", tarfile.CHRTYPE, devmajor=1, devminor=3)), "is no file"),
    "block device": (tar(member("disk", tarfile.BLKTYPE, devmajor=8)), "is no file"),
    "fifo": (tar(member("pipe", tarfile.FIFOTYPE)), "is no file"),
    "unknown kind": (tar(member("what", b"Z")), "is no file"),
    "sparse": (tar(member("hole", pax_headers={"GNU.sparse.map": "0,1", "GNU.sparse.size": "1" + "0" * 13})), "entry"),
    "twice": (tar(member("a"), member("a")), "twice"),
    "zero byte": (tar(member("a\0b", pax_headers={"path": "a\0b"})), "zero byte"),
    "endless name": (tar(member("n" * 5000)), "File name too long"),
    "endless header": (tar(member("a", pax_headers={"comment": "c" * 2_000_000})), "a header of"),
    "back to itself": (
        tar(member("d", tarfile.DIRTYPE), member("a", pax_headers={"size": "-1536"})),
        "not a whole archive",
    ),
    "back before itself": (tar(member("a", pax_headers={"size": "-99999999"})), "not a whole archive"),
    "a chain of headers": (pax_chain(2000), "not a whole archive"),
    "zip parent": (zipped(("../victim", 0o100644, b"x")), "has '..'"),
    "zip absolute": (zipped(("/tmp/victim", 0o100644, b"x")), "absolute"),
    "zip link out": (zipped(("a", 0o120777, b"../victim")), "leads out"),
    "zip link, then a write": (zipped(("a", 0o120777, b"b"), ("a/victim", 0o100644, b"x")), "no folder"),
    "zip device": (zipped(("a", 0o020666, b"")), "is no file"),
    "nothing": (b"", "not a whole archive"),
    "no archive": (b"#!/bin/sh\nexit\n" * 99, "not a whole archive"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(99), "zstd"),
    "cut": (tar(member("a"), member("b"))[:1536], "not a whole archive"),
    "cut in a file": (tar(member("a"), content=bytes(5000))[:2048], "not a whole archive"),
    "cut in gzip": (gzip.compress(tar(member("a"), content=os.urandom(5000)))[:-2000], "not a whole archive"),
    "damaged gzip": (gzip.compress(tar(member("a")))[:-8] + bytes(8), "not a whole archive"),
    "cut zip": (zipped(("a", 0o100644, b"x" * 999))[:-30], "not a whole archive"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_are_refused(name: str, outside: Path) -> None:
    content, why = HOSTILE[name]
    with pytest.raises(InvalidArchive) as caught:
        unpacked(content, outside)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bomb_is_stopped_at_the_bound(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_BYTES", 5_000_000)
    bomb = [member(f"zeros{i}") for i in range(3)]
    for content in (gzip.compress(tar(*bomb, content=bytes(2_000_000))), zipped(("a", 0, bytes(6_000_000)))):
        with pytest.raises(InvalidArchive, match="larger than the 5000000 bytes that"):
            unpacked(content, outside)
        written = [*(outside / "work/out").iterdir()]
        assert sum(path.stat().st_size for path in written) <= 5_000_000
        for path in written:
            path.unlink()
        (outside / "work/out").rmdir()


def test_a_lie_about_a_size_is_no_allocation(outside: Path) -> None:
    head = member("a", size=2**40).tobuf()
    with pytest.raises(InvalidArchive, match="not a whole archive"):
        unpacked(head + bytes(1024), outside)


def test_too_many_entries(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_ENTRIES", 10)
    with pytest.raises(InvalidArchive, match="more than the 10 files and folders"):
        unpacked(tar(member("a/b/c/d/e/f"), member("g/h/i/j/k/l")), outside)


def test_more_than_the_disk_has(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        free = 10

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Full)
    with pytest.raises(InvalidArchive, match="larger than the 10 bytes that"):
        unpacked(tar(member("a"), content=bytes(11)), outside)


def test_nobody_waits_any_more(outside: Path) -> None:
    stop = threading.Event()
    stop.set()
    (outside / "work" / "in").write_bytes(tar(member("a")))
    with pytest.raises(InvalidArchive, match="nobody waits"):
        unpack(outside / "work" / "in", outside / "work" / "out", stop)


PIECES = st.sampled_from(["a", "b", "c", "..", ".", "", "victim", "work"])
PATHS = st.lists(PIECES, min_size=1, max_size=4).map("/".join)
MEMBERS = st.one_of(
    st.builds(member, PATHS, st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE])),
    st.builds(link, PATHS, PATHS, st.sampled_from([tarfile.SYMTYPE, tarfile.LNKTYPE])),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(members=st.lists(MEMBERS, max_size=6))
def test_nothing_ever_leads_out(members: list[tarfile.TarInfo], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "victim").write_text("as it was")
    (folder / "work").mkdir()
    (folder / "in").write_bytes(tar(*members))
    root = folder / "work" / "out"
    try:
        unpack(folder / "in", root)
    except InvalidArchive:
        return
    assert (folder / "victim").read_text() == "as it was"
    assert [path.name for path in (folder / "work").iterdir()] == ["out"]
    for path in root.rglob("*"):
        assert Path(os.path.realpath(path)).is_relative_to(root)
