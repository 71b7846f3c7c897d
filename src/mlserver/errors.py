"""What can go wrong, as one tree.

Every error has a *kind*; the doors translate kinds, each by one table of its own (``rest/errors.py``,
``kafka/errors.py``). No door's numbers live here, with one exception that is part of the public interface: a
runtime may raise ``MLServerError("...", status_code=418)``, and then that status is what the caller gets.

::

    MLServerError            INVALID            a request that cannot be served as it is
    ├── InferenceError       INVALID            a model refuses its input
    ├── CodecError           INVALID            a payload that does not fit its codec
    ├── ModelParametersMissing INVALID          settings without the parameters a runtime needs
    ├── EnvironmentNotFound  INVALID            a Python environment without a Python that fits
    ├── InvalidArchive       INVALID            a packed environment that is broken, or reaches out of its folder
    ├── InvalidModelURI      INVALID            a `uri` that leads nowhere
    ├── InvalidMessageHeaders INVALID           a message whose headers do not say what to do with it
    ├── InvalidBatchingMethod INVALID           a method that is not predicted in batches
    ├── ModelNotFound        NOT_FOUND          no such model, or no such version of it
    ├── PayloadTooLarge      TOO_LARGE          above `max_body_bytes`
    ├── UnsupportedEncoding  UNSUPPORTED        a Content-Encoding that is not known
    ├── ModelNotReady        UNAVAILABLE        loading, or its last load failed
    ├── WorkerDied           UNAVAILABLE        the process that was predicting ended
    ├── Overloaded           OVERLOADED         more is waiting than may wait
    ├── DeadlineExceeded     TIMEOUT            the caller's time, or the model's, is over
    ├── Forbidden            FORBIDDEN          a change that this caller may not make
    ├── NotImplementedByModel NOT_IMPLEMENTED   the model has no such method
    ├── InvalidModelContext  MODEL              something that only a model's code can do was done elsewhere
    ├── MetricNotFound       MODEL              no metric of this name is registered
    └── ModelError           MODEL              the model raised; carries class and text, never a traceback
    ConfigurationError       (not for clients)  the server cannot start: one line that says what to change
"""

from enum import StrEnum


class Kind(StrEnum):
    """What a caller can do about an error: the words that every door's table translates."""

    INVALID = "invalid"
    NOT_FOUND = "not_found"
    TOO_LARGE = "too_large"
    UNSUPPORTED = "unsupported"
    UNAVAILABLE = "unavailable"
    OVERLOADED = "overloaded"
    TIMEOUT = "timeout"
    FORBIDDEN = "forbidden"
    NOT_IMPLEMENTED = "not_implemented"
    MODEL = "model"


class MLServerError(Exception):
    """An error with a message meant for the caller.

    `status_code` is the HTTP status that whoever raised it asked for, or None where the kind decides.
    """

    kind = Kind.INVALID

    def __init__(self, msg: str, status_code: int | None = None) -> None:
        super().__init__(msg)
        # Models say anything; what is no number would end the worker that sends it.
        self.status_code = status_code if isinstance(status_code, int) else None

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class InferenceError(MLServerError):
    """A model refuses the input it was given."""


class CodecError(MLServerError):
    """A payload that its codec cannot encode or decode."""


class ModelParametersMissing(MLServerError):
    """A runtime needs `parameters` in the model's settings, and there are none."""

    def __init__(self, model_name: str, reason: str = "") -> None:
        super().__init__(f"model {model_name!r} has no `parameters` in its settings{': ' + reason if reason else ''}")


class EnvironmentNotFound(MLServerError):
    """The environment that a model asks for has no Python that its worker can run on."""


class InvalidArchive(MLServerError):
    """A packed environment that is not whole, too large, or would be written or lead out of its folder."""


class InvalidModelURI(MLServerError):
    """The `uri` of a model leads to no file or folder."""

    def __init__(self, name: str, model_uri: str | None = None) -> None:
        found = f"no such file or folder: {model_uri}" if model_uri else "its settings have no `parameters.uri`"
        super().__init__(f"model {name!r}: {found}")


class InvalidMessageHeaders(MLServerError):
    """The headers of a message do not say which model it is for, or what to do with it."""


class InvalidBatchingMethod(MLServerError):
    """A method of a model that is not predicted in batches."""

    def __init__(self, method_name: str, reason: str = "") -> None:
        super().__init__(f"method {method_name!r} cannot be batched{': ' + reason if reason else ''}")


class ModelNotFound(MLServerError):
    """No model of this name, or no such version of it, is served here."""

    kind = Kind.NOT_FOUND

    def __init__(self, name: str, version: str | None = None) -> None:
        super().__init__(f"model {name!r} not found" + (f" in version {version!r}" if version else ""))


class PayloadTooLarge(MLServerError):
    """A body above the configured bound, before or after inflation."""

    kind = Kind.TOO_LARGE

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the body is larger than max_body_bytes = {limit_bytes}")


class UnsupportedEncoding(MLServerError):
    """A Content-Encoding this server does not know."""

    kind = Kind.UNSUPPORTED

    def __init__(self, encoding: str, known: str = "gzip, identity") -> None:
        super().__init__(f"Content-Encoding {encoding[:64]!r} is not supported; expected one of: {known}")


class ModelNotReady(MLServerError):
    """The model is known but cannot answer now: it is loading, or its load failed."""

    kind = Kind.UNAVAILABLE

    def __init__(self, name: str, version: str | None = None) -> None:
        super().__init__(f"model {name!r}{f' version {version!r}' if version else ''} is not ready yet")


class WorkerDied(MLServerError):
    """The worker process that ran the model ended before it answered. The request may be sent again."""

    kind = Kind.UNAVAILABLE

    def __init__(self, name: str, version: str | None = None) -> None:
        named = f"model {name!r}{f' version {version!r}' if version else ''}"
        super().__init__(f"the worker of {named} ended before it answered")


class Overloaded(MLServerError):
    """More requests wait for a model than may wait. The request was not looked at, and may be sent again later."""

    kind = Kind.OVERLOADED


class DeadlineExceeded(MLServerError):
    """The time that the caller, or the model's settings, gave this request is over."""

    kind = Kind.TIMEOUT


class Forbidden(MLServerError):
    """This caller may not change the server."""

    kind = Kind.FORBIDDEN


class NotImplementedByModel(MLServerError):
    """The model does not have the method that was called."""

    kind = Kind.NOT_IMPLEMENTED


class InvalidModelContext(MLServerError):
    """What only a model's own code can do - record a metric under its name - was done elsewhere."""

    kind = Kind.MODEL

    def __init__(self) -> None:
        super().__init__("no model is at work here: call this from load, predict or another method of a model")


class MetricNotFound(MLServerError):
    """No metric of this name is registered."""

    kind = Kind.MODEL

    def __init__(self, name: str) -> None:
        super().__init__(f"metric {name!r:.140} is not registered")


class ModelError(MLServerError):
    """The model raised: its exception's class and text, without a traceback (that is in the log)."""

    kind = Kind.MODEL

    @classmethod
    def of(cls, error: BaseException) -> "ModelError":
        """Wrap `error` so that its class and text, and nothing else, reach the caller."""
        name = type(error).__name__
        module = type(error).__module__
        text = str(error)
        return cls(f"{name if module == 'builtins' else f'{module}.{name}'}{': ' + text if text else ''}")


# By these names runtimes written for MLServer 1.7 know them.
WorkerStop = WorkerDied
WorkerError = ModelError


class ConfigurationError(Exception):
    """The server cannot start as configured. The message is one line that says where and what to change."""
