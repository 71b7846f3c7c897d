"""Unpacking a packed environment so that nothing is written, and nothing leads, outside of its folder.

An archive is a list of instructions from whoever made it. These are followed: make a regular file, a folder, a link
to something in the archive. Everything else - absolute names, `..`, devices, links that lead out, names below a link,
one name twice, more bytes than there may be - ends the unpacking with a line that names the entry.
"""

import bz2
import gzip
import io
import lzma
import os
import shutil
import stat
import tarfile
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, NamedTuple, cast

from mlserver.errors import InvalidArchive
from mlserver.settings.shown import shown_path

# A conda environment with CUDA and PyTorch unpacks to 5 to 10 GiB.
MAX_BYTES = 20 * 1024**3
# The same one has some 100,000 files and folders.
MAX_ENTRIES = 500_000
# A header of a tar archive is read as a whole: the names and attributes of one entry, a few KiB at most.
_MAX_HEADER_BYTES = 1024**2
_CHUNK_BYTES = 1024**2
_LAST_TIME = 2**32 - 1

_INFLATE: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    RuntimeError,
)


class Entry(NamedTuple):
    """One instruction of an archive. `link` is where a link leads; `content` what is in a file."""

    name: str
    kind: Literal["file", "folder", "symlink", "hardlink"]
    executable: bool = False
    modified: float = 0
    link: str = ""
    content: IO[bytes] | None = None


def unpack(archive: Path, folder: Path, stop: threading.Event | None = None) -> None:
    """Unpack a `.tar`, plain or compressed by gzip, bzip2 or xz, or a `.zip` into `folder`, which must not exist.

    Ends early when `stop` is set. Raises InvalidArchive, and leaves what was written by then in `folder`.
    """
    try:
        folder.mkdir(mode=0o755)
        into = _Folder(folder, min(MAX_BYTES, shutil.disk_usage(folder).free))
        with archive.open("rb") as file:
            for entry in _entries(file, into.limit_bytes):
                if stop is not None and stop.is_set():
                    raise InvalidArchive("nobody waits for it any more")
                into.put(entry)
    except InvalidArchive as error:
        raise InvalidArchive(f"{shown_path(archive)}: {error}") from None
    except _BROKEN as error:
        raise InvalidArchive(f"{shown_path(archive)}: not a whole archive: {error}") from error
    except OSError as error:
        raise InvalidArchive(f"{shown_path(archive)}: {error.strerror or error}") from error


class _Folder:
    """Carries out instructions within a folder that nobody else writes to."""

    def __init__(self, root: Path, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._root = root
        self._left_bytes = limit_bytes
        self._left_entries = MAX_ENTRIES
        # Folders made here. Nothing is ever removed or replaced, so that they stay folders.
        self._made: set[tuple[str, ...]] = {()}

    def put(self, entry: Entry) -> None:
        """Carry out one instruction. Raises InvalidArchive, OSError."""
        parts = _parts(entry.name, entry)
        if entry.kind == "folder":
            self._folder(parts, entry)
            return
        if not parts:
            raise _refused(entry, "has no name")
        self._folder(parts[:-1], entry)
        self._count()
        path = self._root.joinpath(*parts)
        try:
            if entry.kind == "file":
                self._file(path, entry)
            elif entry.kind == "symlink":
                path.symlink_to(_inside(entry, len(parts) - 1))
            else:
                path.hardlink_to(self._written(entry))
        except FileExistsError:
            raise _refused(entry, "is there twice") from None

    def _folder(self, parts: tuple[str, ...], entry: Entry) -> None:
        """Make the folder `parts` and those above it, unless they are there."""
        for depth in range(1, len(parts) + 1):
            below = parts[:depth]
            if below in self._made:
                continue
            self._count()
            try:
                self._root.joinpath(*below).mkdir(mode=0o755)
            except FileExistsError:
                raise _refused(entry, f"leads through {'/'.join(below)!r:.100}, which is no folder") from None
            self._made.add(below)

    def _file(self, path: Path, entry: Entry) -> None:
        """Write a new file. Its owner, its group and all bits of its mode but one are ours."""
        with open(path, "xb", opener=_opener(0o755 if entry.executable else 0o644)) as file:
            while piece := entry.content.read(_CHUNK_BYTES) if entry.content else b"":
                self._left_bytes -= len(piece)
                if self._left_bytes < 0:
                    limit = f"{self.limit_bytes} bytes that an environment may have and the disk has room for"
                    raise InvalidArchive(f"larger than the {limit}")
                file.write(piece)
            file.flush()
            # A compiled module is looked up by the time of its source.
            modified = min(max(entry.modified, 0), _LAST_TIME)
            os.utime(file.fileno(), (modified, modified))

    def _written(self, entry: Entry) -> Path:
        """The file that a hard link stands for."""
        parts = _parts(entry.link, entry)
        path = self._root.joinpath(*parts)
        if parts[:-1] not in self._made or not (path.is_file() and not path.is_symlink()):
            raise _refused(entry, f"is a link to {entry.link!r:.100}, which is no file written before")
        return path

    def _count(self) -> None:
        self._left_entries -= 1
        if self._left_entries < 0:
            raise InvalidArchive(f"more than the {MAX_ENTRIES} files and folders an environment may have")


def _refused(entry: Entry, why: str) -> InvalidArchive:
    return InvalidArchive(f"entry {entry.name!r:.100} {why}")


def _opener(mode: int) -> Callable[[str, int], int]:
    return lambda path, flags: os.open(path, flags | os.O_NOFOLLOW, mode)


def _parts(name: str, entry: Entry) -> tuple[str, ...]:
    """The components of a name that stays inside."""
    if name.startswith("/"):
        raise _refused(entry, "is an absolute path")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts or "\0" in name:
        raise _refused(entry, "has '..' or a zero byte in its path")
    return parts


def _inside(entry: Entry, depth: int) -> str:
    """Where a symbolic link in a folder `depth` below the root may lead.

    `..` only in front: there it leads to the real folders above. Behind a name, which may be a link itself, it could
    lead anywhere.
    """
    parts = [part for part in entry.link.split("/") if part not in ("", ".")]
    names = [*parts]
    while names and names[0] == "..":
        del names[0]
    if entry.link.startswith("/") or ".." in names or len(parts) - len(names) > depth or "\0" in entry.link:
        raise _refused(entry, f"is a link to {entry.link!r:.100}, which leads out of the archive")
    return str(PurePosixPath(*parts))


def _entries(file: IO[bytes], limit_bytes: int) -> Iterator[Entry]:
    """The instructions in `file`, by what its first bytes say it is."""
    head = file.read(8)
    file.seek(0)
    if head.startswith(b"PK"):
        return _zip_entries(file)
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        raise InvalidArchive("compressed by zstd; expected gzip, bzip2, xz, zip or none")
    inflate = next((found for magic, found in _INFLATE.items() if head.startswith(magic)), None)
    return _tar_entries(_Bounded(inflate(file) if inflate else file, limit_bytes))


def _tar_entries(stream: "_Bounded") -> Iterator[Entry]:
    with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r:") as tar:
        while (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined] # it would keep them all
            yield _tar_entry(tar, member)
    # `next` also ends at a header that is none.
    if stream.last != bytes(tarfile.BLOCKSIZE):
        raise InvalidArchive("not a whole archive: it ends without an end mark")
    # The checksum of what was compressed is behind its last byte.
    while stream.read(_CHUNK_BYTES):
        pass


def _tar_entry(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Entry:
    executable, modified = bool(member.mode & 0o100), float(member.mtime)
    if member.isdir():
        return Entry(member.name, "folder")
    if member.issym():
        return Entry(member.name, "symlink", link=member.linkname)
    if member.islnk():
        return Entry(member.name, "hardlink", link=member.linkname)
    # A sparse file is larger than what the archive holds of it.
    if not member.isreg() or member.issparse():
        raise InvalidArchive(f"entry {member.name!r:.100} is no file, folder or link")
    return Entry(member.name, "file", executable, modified, content=tar.extractfile(member))


def _zip_entries(file: IO[bytes]) -> Iterator[Entry]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            yield from _zip_entry(archive, info)


def _zip_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[Entry]:
    mode = info.external_attr >> 16
    kind = stat.S_IFMT(mode)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
        raise InvalidArchive(f"entry {info.filename!r:.100} is no file, folder or link")
    if info.is_dir() or kind == stat.S_IFDIR:
        yield Entry(info.filename, "folder")
        return
    with archive.open(info) as content:
        if kind == stat.S_IFLNK:
            yield Entry(info.filename, "symlink", link=os.fsdecode(content.read(_CHUNK_BYTES)))
        else:
            modified = time.mktime((*info.date_time, 0, 0, -1))
            yield Entry(info.filename, "file", bool(mode & 0o100), modified, content=content)


class _Bounded(io.RawIOBase):
    """A stream that ends in an error where a reader wants more at once, or in all, than there may be."""

    def __init__(self, stream: IO[bytes], limit_bytes: int) -> None:
        self._stream = stream
        # Besides the files' own bytes: a header and padding for each, which are small.
        self._limit_bytes = limit_bytes + MAX_ENTRIES * 4 * tarfile.BLOCKSIZE
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes."""
        if not 0 <= size <= max(_CHUNK_BYTES, _MAX_HEADER_BYTES):
            raise InvalidArchive(f"a header of {size} bytes is larger than the {_MAX_HEADER_BYTES} that one may have")
        self.last = self._stream.read(size)
        self._check()
        return self.last

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Forward, as a tape goes: an entry of negative length would lead back for ever."""
        if whence != io.SEEK_SET or offset < self._stream.tell():
            raise InvalidArchive("not a whole archive: an entry leads back to what was before it")
        self._stream.seek(offset)
        return self._check()

    def tell(self) -> int:
        """As of any stream."""
        return self._stream.tell()

    def _check(self) -> int:
        here = self._stream.tell()
        if here > self._limit_bytes:
            raise InvalidArchive(f"more than {self._limit_bytes} bytes when inflated")
        return here
