"""Helpers for authors of runtimes."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

from mlserver.errors import InvalidModelURI
from mlserver.settings import ModelSettings
from mlserver.types import InferenceRequest, InferenceResponse, Parameters

_T = TypeVar("_T")
_M = TypeVar("_M", InferenceRequest, InferenceResponse)


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


def insert_headers(message: _M, headers: Mapping[str, str]) -> _M:
    """`message` with `headers` as its `parameters.headers`, in place of those that were there."""
    given: Any = message.parameters
    if not isinstance(given, Parameters):
        given = message.parameters = Parameters(**(given or {}))
    given.headers = dict(headers)
    return message


def extract_headers(message: InferenceRequest | InferenceResponse) -> dict[str, str] | None:
    """Take the headers out of the parameters of `message`; None where there are none."""
    given: Any = message.parameters
    if not isinstance(given, Parameters):
        return given.pop("headers", None) if given else None
    headers, given.headers = given.headers, None
    return headers


class AsyncManager:
    """Runs coroutines on event loops of their own: uvloop's where it is installed, else asyncio's."""

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """What `coroutine` returns or raises. Not to be called where a loop is running."""
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(coroutine)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


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
