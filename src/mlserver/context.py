"""Which model the running code belongs to: for metrics, logs, and whatever a runtime wants to label."""

from contextvars import ContextVar, Token

from mlserver.settings import ModelSettings

# Unset outside of a model's methods: `get()` raises LookupError there. The version of an unversioned model is "".
model_name_var: ContextVar[str] = ContextVar("model_name")
model_version_var: ContextVar[str] = ContextVar("model_version")


class model_context:  # noqa: N801 - it is used as a function, and a class costs a third of a generator
    """Set the context variables to the model of `model_settings` for the duration of a `with` block."""

    __slots__ = ("_name", "_settings", "_version")

    _name: Token[str]
    _version: Token[str]

    def __init__(self, model_settings: ModelSettings) -> None:
        self._settings = model_settings

    def __enter__(self) -> None:
        self._name = model_name_var.set(self._settings.name)
        self._version = model_version_var.set(self._settings.version or "")

    def __exit__(self, *error: object) -> None:
        model_name_var.reset(self._name)
        model_version_var.reset(self._version)
