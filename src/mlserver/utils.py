"""Helpers for authors of runtimes."""

import asyncio
import os
from collections.abc import Sequence
from urllib.parse import urlsplit

from mlserver.errors import InvalidModelURI
from mlserver.settings import ModelSettings


async def get_model_uri(settings: ModelSettings, wellknown_filenames: Sequence[str] = ()) -> str:
    """Where the model's artefact is, from `parameters.uri` of its settings.

    A file is itself; a folder is the first of `wellknown_filenames` that exists in it, or else the folder. Relative
    paths are relative to the folder of the settings file. A URI of a scheme other than `file` is returned as it is,
    unchecked. Raises InvalidModelURI where there is no URI, or nothing at its path.
    """
    uri = settings.parameters.uri if settings.parameters else None
    if not uri:
        raise InvalidModelURI(settings.name)
    if urlsplit(uri).scheme not in ("", "file"):
        return uri
    path = local_path(settings, uri)
    return await asyncio.to_thread(_existing, settings.name, path, wellknown_filenames)


def to_absolute_path(model_settings: ModelSettings, uri: str) -> str:
    """The path `uri`, relative to the folder of the settings file, without `.` and `..`.

    Settings that came from no file leave it as it is, relative to the working directory.
    """
    source = model_settings._source
    if source is None:
        return uri
    return os.path.normpath(os.path.join(os.path.dirname(source), uri))


def local_path(model_settings: ModelSettings, uri: str) -> str:
    """The path of a `file:` URI, or of a path, by the rules of `to_absolute_path`."""
    return to_absolute_path(model_settings, _without_scheme(uri))


def generate_uuid() -> str:
    """A random UUID (version 4, RFC 9562) as text: what `str(uuid.uuid4())` gives, in a third of its time."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def _without_scheme(uri: str) -> str:
    """`file:x`, `file:/x`, `file:///x` and `file://localhost/x` as a path; without percent-decoding."""
    if not uri.startswith("file:"):
        return uri
    path = uri.removeprefix("file:")
    return path if not path.startswith("//") else path.removeprefix("//").removeprefix("localhost")


def _existing(name: str, path: str, wellknown_filenames: Sequence[str]) -> str:
    if os.path.isfile(path):
        return path
    if not os.path.isdir(path):
        raise InvalidModelURI(name, path)
    candidates = (os.path.join(path, filename) for filename in wellknown_filenames)
    return next((candidate for candidate in candidates if os.path.isfile(candidate)), path)
