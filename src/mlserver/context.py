"""Which model the running code belongs to: for metrics, logs, and whatever a runtime wants to label."""

from contextvars import ContextVar, Token

from mlserver.settings import ModelSettings

# Unset outside of a model's methods: `get()` raises LookupError there. The version of an unversioned model is "".
model_name_var: ContextVar[str] = ContextVar("model_name")
model_version_var: ContextVar[str] = ContextVar("model_version")
# The id of the one request that the model is at work for; None for several, or none. Of no meaning outside of a model.
request_id_var: ContextVar[str | None] = ContextVar("request_id", default=None)


class model_context:  # noqa: N801 - it is used as a function, and a class costs a third of a generator
    """Set the context variables to the model of `model_settings` for the duration of a `with` block.

    `request_id` is that of the request which the model is at work for, if there is one.
    """

    __slots__ = ("_name", "_request_id", "_settings", "_version")

    _name: Token[str]
    _version: Token[str]

    def __init__(self, model_settings: ModelSettings, request_id: str | None = None) -> None:
        self._settings = model_settings
        self._request_id = request_id

    def __enter__(self) -> None:
        self._name = model_name_var.set(self._settings.name)
        self._version = model_version_var.set(self._settings.version or "")
        # Not set back: outside of a model nobody looks, and every request comes by here.
        request_id_var.set(self._request_id)

    def __exit__(self, *error: object) -> None:
        model_name_var.reset(self._name)
        model_version_var.reset(self._version)
