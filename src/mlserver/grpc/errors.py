"""One table, kind -> gRPC status code, and the words that go with it."""

from grpc import StatusCode

from mlserver.errors import Kind, MLServerError, ModelError

CODE: dict[Kind, StatusCode] = {
    Kind.INVALID: StatusCode.INVALID_ARGUMENT,
    Kind.NOT_FOUND: StatusCode.NOT_FOUND,
    Kind.TOO_LARGE: StatusCode.RESOURCE_EXHAUSTED,
    Kind.UNSUPPORTED: StatusCode.UNIMPLEMENTED,
    Kind.NOT_IMPLEMENTED: StatusCode.UNIMPLEMENTED,
    Kind.UNAVAILABLE: StatusCode.UNAVAILABLE,
    Kind.OVERLOADED: StatusCode.RESOURCE_EXHAUSTED,
    Kind.TIMEOUT: StatusCode.DEADLINE_EXCEEDED,
    Kind.FORBIDDEN: StatusCode.PERMISSION_DENIED,
    Kind.MODEL: StatusCode.INTERNAL,
}

# For errors whose raiser asked for an HTTP status; those not named here are UNKNOWN, as gRPC's own mapping has it.
_BY_STATUS = {
    400: StatusCode.INVALID_ARGUMENT,
    401: StatusCode.UNAUTHENTICATED,
    403: StatusCode.PERMISSION_DENIED,
    404: StatusCode.NOT_FOUND,
    408: StatusCode.DEADLINE_EXCEEDED,
    409: StatusCode.ABORTED,
    413: StatusCode.RESOURCE_EXHAUSTED,
    416: StatusCode.OUT_OF_RANGE,
    422: StatusCode.FAILED_PRECONDITION,
    429: StatusCode.RESOURCE_EXHAUSTED,
    499: StatusCode.CANCELLED,
    500: StatusCode.INTERNAL,
    501: StatusCode.UNIMPLEMENTED,
    503: StatusCode.UNAVAILABLE,
    504: StatusCode.DEADLINE_EXCEEDED,
}

INTERNAL_ERROR = "internal error; the server's log says more"
# Details travel as a header, of which clients take 8 KiB in all by default, and each character may become nine.
_MAX_DETAILS = 800


class NotSupported(MLServerError):
    """A part of the protocol, or of its extensions, that this server does not have."""

    kind = Kind.NOT_IMPLEMENTED


def code_of(error: MLServerError) -> StatusCode:
    """The code of the HTTP status that whoever raised it asked for, else by kind."""
    if error.status_code is not None and 400 <= error.status_code <= 599:
        return _BY_STATUS.get(error.status_code, StatusCode.UNKNOWN)
    return CODE[error.kind]


def details_of(error: MLServerError) -> str:
    """The message, as long as may be sent."""
    text = str(error)
    return text if len(text) <= _MAX_DETAILS else f"{text[:_MAX_DETAILS]}..."


def named(error: MLServerError, request_id: str | None) -> MLServerError:
    """Where the model failed, the error with the request's id, under which the log tells more."""
    if error.kind is not Kind.MODEL or not request_id:
        return error
    return ModelError(f"{error} (request {request_id})", error.status_code)
