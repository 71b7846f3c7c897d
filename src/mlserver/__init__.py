"""A model-inference server: Open Inference Protocol (V2) over REST, gRPC and Kafka."""

from typing import TYPE_CHECKING, Any

from mlserver.model import MLModel
from mlserver.settings import ModelSettings, Settings
from mlserver.version import __version__

if TYPE_CHECKING:
    from mlserver.server import MLServer

__all__ = ["MLModel", "MLServer", "ModelSettings", "Settings", "__version__"]


def __getattr__(name: str) -> Any:
    """The server on demand: a runtime that imports `MLModel` should not wait for HTTP and metrics to be imported."""
    if name == "MLServer":
        from mlserver.server import MLServer

        return MLServer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
