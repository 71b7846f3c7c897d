"""CloudEvents attributes of requests and answers, as headers under the names and with the values of MLServer 1.7."""

from pathlib import Path
from urllib.parse import quote

_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_SOURCE = "io.seldon.serving.deployment."
_TYPE = "io.seldon.serving.inference."
# An id is the caller's and may be as long as a body; clients refuse heads of some 8 KiB.
_LONGEST_ID = 1024
# What stays as it is where something has to be escaped: printable ASCII but for `%`, `"` and space.
_PRINTABLE = "!#$&'()*+,/:;<=>?@[\\]^`{|}~"


class CloudEvents:
    """Makes the headers. `namespace` is the one of Kubernetes that the server runs in, or None."""

    def __init__(self, server_name: str, namespace: str | None = None) -> None:
        source = f"{_SOURCE}{server_name}{f'.{namespace}' if namespace else ''}"
        self._server = {
            "Ce-Specversion": "0.3",
            "Ce-Source": printable(source),
            "Ce-Inferenceservicename": printable(server_name),
        }
        if namespace:
            self._server["Ce-Namespace"] = printable(namespace)

    def of_request(self, model: str, request_id: str | None) -> dict[str, str]:
        """What a model finds among its request's headers."""
        return self._of("request", model) | of_id(request_id)

    def of_response(self, model: str, request_id: str | None) -> dict[str, str]:
        """What an answer carries."""
        return self.of_responses(model) | of_id(request_id)

    def of_responses(self, model: str) -> dict[str, str]:
        """The same but for the id: what all answers of a model have in common."""
        return self._of("response", model)

    def _of(self, what: str, model: str) -> dict[str, str]:
        named = printable(model)
        return self._server | {"Ce-Type": _TYPE + what, "Ce-Modelid": named, "Ce-Endpoint": named}


def of_id(request_id: str | None) -> dict[str, str]:
    """The headers that tell an id; none where there is none, or it is too long for a header."""
    if not request_id or len(request_id) > _LONGEST_ID:
        return {}
    shown = printable(request_id)
    return {"Ce-Id": shown, "Ce-Requestid": shown}


def printable(text: str) -> str:
    """`text` as a header can carry it: with anything but printable ASCII, percent-encoded as CloudEvents has it."""
    return text if text.isascii() and text.isprintable() else quote(text, safe=_PRINTABLE, errors="replace")


def namespace() -> str | None:
    """The namespace of the Kubernetes pod that this runs in; None outside of one."""
    try:
        return _NAMESPACE.read_text().strip() or None
    except OSError:
        return None
