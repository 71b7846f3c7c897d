"""What a run of the batch client is told."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mlserver.errors import ConfigurationError

TRANSPORTS = ("rest", "grpc")

# Headers that the client itself sets, or that say how the body is cut: another value would break every request.
_OWN_HEADERS = {"content-length", "transfer-encoding", "inference-header-content-length", "content-type", "host"}
# Not in a header's name by RFC 9110; a value may hold anything but line ends and NUL.
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """One run. Paths may be `-` for standard input and output.

    `retries` are tries after the first; `batch_size` is how many lines at most become one request; `timeout` is for one
    try. `timeout`, `batch_interval` and `batch_jitter` are seconds: each worker waits the interval, and a random part
    of the jitter, between its requests. `insecure` takes any certificate. Raises ConfigurationError for a value that
    cannot be.
    """

    model_name: str
    input_data_path: str
    output_data_path: str
    url: str = "localhost:8080"
    workers: int = 10
    retries: int = 3
    batch_size: int = 1
    binary_data: bool = False
    transport: str = "rest"
    request_headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 60.0
    batch_interval: float = 0.0
    batch_jitter: float = 0.0
    use_ssl: bool = False
    insecure: bool = False

    def __post_init__(self) -> None:
        for name, least in (("workers", 1), ("retries", 0), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise ConfigurationError(f"{name}: expected {least} or more, got {getattr(self, name)}")
        if not self.timeout > 0:
            raise ConfigurationError(f"timeout: expected more than 0 seconds, got {self.timeout}")
        if self.batch_interval < 0 or self.batch_jitter < 0:
            raise ConfigurationError("batch_interval, batch_jitter: expected 0 seconds or more")
        if self.transport not in TRANSPORTS:
            raise ConfigurationError(f"transport: expected one of {', '.join(TRANSPORTS)}, got {self.transport!r}")
        if not self.model_name:
            raise ConfigurationError("model_name: missing")

    @property
    def address(self) -> str:
        """Where the server is, without scheme and closing slash: `localhost:8080`."""
        return self.url.partition("://")[2].rstrip("/") if "://" in self.url else self.url.rstrip("/")

    @property
    def encrypted(self) -> bool:
        """Whether to speak TLS: because of `use_ssl`, or because the URL says https."""
        return self.use_ssl or self.url.lower().startswith(("https://", "grpcs://"))


def parse_headers(given: Iterable[str]) -> dict[str, str]:
    """The headers of `K: V` texts. Raises ConfigurationError that names the first that is none."""
    headers: dict[str, str] = {}
    for text in given:
        name, colon, value = (part.strip() for part in text.partition(":"))
        if not colon or not name or not _TOKEN.issuperset(name.lower()):
            raise ConfigurationError(f"request header: expected 'Name: value', got {text!r}")
        if any(char in value for char in "\r\n\0") or not value.isascii():
            raise ConfigurationError(f"request header {name}: the value holds characters that no header may have")
        if name.lower() in _OWN_HEADERS:
            raise ConfigurationError(f"request header {name}: it is set by the client itself")
        headers[name] = value
    return headers
