"""The way over REST."""

import asyncio
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
from yarl import URL

from mlserver.batch_processing.binary import HEADER, decode, encode
from mlserver.batch_processing.lines import Message
from mlserver.batch_processing.options import BatchOptions
from mlserver.batch_processing.transport import RequestFailed, headers_of
from mlserver.errors import ConfigurationError

# Statuses of a server that may answer later. 501 stays as it is; everything else below 500 is about the request.
_AGAIN = {408, 425, 429}
_NEVER = {501}
# Enough of a body that is no protocol error to see what it is.
_SHOWN_CHARS = 300


class RestTransport:
    """Requests to one model over connections that are kept, one for each worker."""

    def __init__(self, options: BatchOptions) -> None:
        self._url = _url(options)
        self._headers = dict(options.request_headers)
        self._binary = options.binary_data
        self._timeout = options.timeout
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=options.workers, ssl=not options.insecure),
            timeout=aiohttp.ClientTimeout(total=options.timeout),
        )

    async def infer(self, request: Message) -> Message:
        """The response to `request`. Raises RequestFailed."""
        body, headers = self._body(request)
        headers |= headers_of(request, self._headers)
        try:
            async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as answer:
                return _response(answer, await answer.read())
        except TimeoutError:
            raise RequestFailed(f"no answer after {self._timeout:g} s", again=True) from None
        except aiohttp.ClientConnectionError as error:
            raise RequestFailed(f"cannot reach {self._url}: {error}", again=True, reached=False) from None
        except aiohttp.ClientError as error:
            raise RequestFailed(f"{type(error).__name__}: {error}", again=True) from None

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()
        # TLS connections end a turn of the loop later.
        await asyncio.sleep(0)

    def _body(self, request: Message) -> tuple[bytes, dict[str, str]]:
        if not self._binary:
            return orjson.dumps(request), {"Content-Type": "application/json"}
        body, header_bytes = encode(request)
        return body, {"Content-Type": "application/octet-stream", HEADER: str(header_bytes)}


def _url(options: BatchOptions) -> URL:
    """The address of the infer route, escaped as it is here: a name with a slash in it must not become a path."""
    scheme = "https" if options.encrypted else "http"
    route = f"/v2/models/{quote(options.model_name, safe='')}/infer"
    try:
        url = URL(f"{scheme}://{options.address}{route}", encoded=True)
        found = bool(url.host) and url.port is not None
    except ValueError:
        found = False
    if not found:
        raise ConfigurationError(f"url: expected host:port, got {options.url!r}")
    return url


def _response(answer: aiohttp.ClientResponse, body: bytes) -> Message:
    if answer.status != 200:
        raise _refused(answer, body)
    header_bytes = answer.headers.get(HEADER, "")
    response = decode(body, int(header_bytes)) if header_bytes.isdecimal() else _loads(body)
    if not isinstance(response, dict) or not isinstance(response.get("outputs"), list):
        raise RequestFailed(f"the answer is no inference response: {_shown(body)}", again=False)
    return response


def _refused(answer: aiohttp.ClientResponse, body: bytes) -> RequestFailed:
    """What the server said, and whether it may say something else later."""
    status = answer.status
    found = _loads(body)
    told = found.get("error") if isinstance(found, dict) else None
    again = status in _AGAIN or (status >= 500 and status not in _NEVER)
    after = answer.headers.get("Retry-After", "")
    seconds = float(after) if after.isdecimal() else 0.0
    return RequestFailed(f"{status}: {told or _shown(body) or answer.reason}", again=again, after_seconds=seconds)


def _loads(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _shown(body: bytes) -> str:
    return body[:_SHOWN_CHARS].decode(errors="replace")
