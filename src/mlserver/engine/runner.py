"""The one call shape. Whatever stands between a door and a model - a batcher, a pool, a socket - is a Runner."""

from typing import Protocol

from mlserver.types import MetadataModelResponse
from mlserver.types.tensors import TensorRequest, TensorResponse


class ModelCard:
    """What the rest of the server may know of a loaded model without touching it.

    `row_wise`: its rows may be stacked into one `predict` and split again. `ready`: its `load` said so.
    """

    __slots__ = ("metadata", "ready", "row_wise")

    def __init__(self, metadata: MetadataModelResponse, *, row_wise: bool, ready: bool) -> None:
        self.metadata = metadata
        self.row_wise = row_wise
        self.ready = ready


class Runner(Protocol):
    """Answers inference requests for one model."""

    @property
    def card(self) -> ModelCard:
        """What is known of the model."""
        ...

    async def infer(self, request: TensorRequest) -> TensorResponse:
        """Predict. Raises MLServerError, and nothing else, when there is no answer."""
        ...

    async def close(self) -> None:
        """Give the model's resources back, after the calls under way have ended."""
        ...
