"""A model-inference server: Open Inference Protocol (V2) over REST and Kafka."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mlserver.version import __version__

if TYPE_CHECKING:
    from mlserver.metrics import log, register
    from mlserver.model import MLModel
    from mlserver.server import MLServer
    from mlserver.settings import ModelSettings, Settings

__all__ = ["MLModel", "MLServer", "ModelSettings", "Settings", "__version__", "log", "register"]

_HOMES = {
    "MLModel": "mlserver.model",
    "MLServer": "mlserver.server",
    "ModelSettings": "mlserver.settings",
    "Settings": "mlserver.settings",
    "log": "mlserver.metrics",
    "register": "mlserver.metrics",
}


def __getattr__(name: str) -> Any:
    """Names on demand: `mlserver --help` needs no pydantic, and a runtime that imports `MLModel` no web server."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)
