"""One table, kind -> HTTP status, and the one form in which an error leaves: ``{"error": "..."}``."""

from mlserver.errors import Kind, MLServerError

STATUS: dict[Kind, int] = {
    Kind.INVALID: 400,
    Kind.NOT_FOUND: 404,
    Kind.TOO_LARGE: 413,
    Kind.UNSUPPORTED: 415,
    Kind.NOT_IMPLEMENTED: 501,
    Kind.UNAVAILABLE: 503,
    Kind.OVERLOADED: 429,
    Kind.TIMEOUT: 504,
    Kind.FORBIDDEN: 403,
    Kind.MODEL: 500,
}

# No answer was made: the server stopped, or the caller left, before there was one. Nobody receives this number; nginx's
# logs have it for a caller who went away.
NO_ANSWER = 499

INTERNAL_ERROR = "internal error; the server's log says more"


def status_of(error: MLServerError) -> int:
    """The status that whoever raised it asked for, else by kind."""
    if error.status_code is not None and 400 <= error.status_code <= 599:
        return error.status_code
    return STATUS[error.kind]


def told(error: MLServerError, request_id: str | None) -> str:
    """The message; where the model failed, with the request's id, under which the log tells more."""
    return f"{error} (request {request_id})" if error.kind is Kind.MODEL and request_id else str(error)
