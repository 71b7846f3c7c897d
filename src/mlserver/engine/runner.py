"""The one call shape. Whatever stands between a door and a model - a cache, a queue, a pool - is a Runner."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from mlserver.engine.custom import CustomRequest, CustomResponse
from mlserver.engine.isolate import Outcome
from mlserver.types import MetadataModelResponse
from mlserver.types.tensors import TensorRequest, TensorResponse


class ModelCard:
    """What the rest of the server may know of a loaded model without touching it.

    `max_rows`: rows of several requests may be stacked into one `predict` up to so many, and split again; 1 where they
    must not be. `ready`: its `load` said so. `plain`: its `predict` is a plain `def`. `custom`: methods and path
    templates of the routes that it brings itself.
    """

    __slots__ = ("custom", "max_rows", "metadata", "plain", "ready")

    def __init__(
        self,
        metadata: MetadataModelResponse,
        *,
        max_rows: int,
        ready: bool,
        plain: bool = False,
        custom: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.custom = custom
        self.metadata = metadata
        self.max_rows = max_rows
        self.ready = ready
        self.plain = plain


class Runner(Protocol):
    """Answers inference requests for one model."""

    @property
    def card(self) -> ModelCard:
        """What is known of the model."""
        ...

    @property
    def ready(self) -> bool:
        """Whether it can answer now: the model says so, and somebody lives who can run it."""
        ...

    async def infer(self, request: TensorRequest) -> TensorResponse:
        """Predict. Raises MLServerError, and nothing else, when there is no answer."""
        ...

    async def infer_members(self, request: TensorRequest, rows: Sequence[int]) -> list[Outcome]:
        """Predict a backlog's stack, whose leading dimension holds `rows[i]` rows of member i; in members' order.

        Each member gets what it would have got alone. It waits behind requests that somebody waits for. Never raises
        MLServerError: it is in the outcomes.
        """
        ...

    def stream(self, requests: AsyncIterator[TensorRequest]) -> AsyncIterator[TensorResponse]:
        """Answer a stream of requests with a stream of responses. Raises MLServerError, and nothing else.

        Whoever stops to iterate closes the iterator (`aclose`), which ends the model's generator.
        """
        ...

    async def call(self, request: CustomRequest) -> CustomResponse:
        """Answer a request to one of the model's own routes. Raises MLServerError, and nothing else."""
        ...

    async def close(self) -> None:
        """Give the model's resources back, after the calls under way have ended."""
        ...
