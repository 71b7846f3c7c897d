"""The response cache: a Runner around a Runner that answers what it has answered before.

A cache belongs to one loaded model, so that a model that is loaded anew begins with an empty one. Equal requests that
are under way wait for the one that runs. Errors are not kept.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from copy import deepcopy
from typing import Any

import numpy as np

from mlserver.engine.custom import CustomRequest, CustomResponse
from mlserver.engine.isolate import Outcome
from mlserver.engine.keys import cache_key
from mlserver.engine.runner import ModelCard, Runner
from mlserver.errors import DeadlineExceeded
from mlserver.types.tensors import Tensor, TensorRequest, TensorResponse

# A kept response besides its data: some dozen small objects.
_OVERHEAD_BYTES = 2048
_STRING_BYTES = 64


class KeptResponse:
    """A response that any number of callers are given, none of whom can change what the next one gets."""

    __slots__ = ("_response", "size_bytes")

    def __init__(self, response: TensorResponse) -> None:
        outputs = [_own(tensor) for tensor in response.outputs]
        self._response = TensorResponse(
            response.model, response.version, outputs, None, deepcopy(response.parameters), deepcopy(response.headers)
        )
        self.size_bytes = size_bytes(response)

    def response(self) -> TensorResponse:
        """The response without an id, around arrays that cannot be written to."""
        kept = self._response
        outputs = [_shown(tensor) for tensor in kept.outputs]
        return TensorResponse(
            kept.model, kept.version, outputs, None, deepcopy(kept.parameters), deepcopy(kept.headers)
        )


class CacheSize:
    """Bounds how many responses all caches of a server keep together: the least recently used one goes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._order: OrderedDict[tuple[Shelf, bytes], None] = OrderedDict()

    def used(self, shelf: "Shelf", key: bytes) -> None:
        """A response was put there, or found."""
        self._order[shelf, key] = None
        self._order.move_to_end((shelf, key))
        if len(self._order) > self._limit:
            (shelf, key), _ = self._order.popitem(last=False)
            shelf.drop(key)

    def gone(self, shelf: "Shelf", key: bytes) -> None:
        """A response is no longer there."""
        self._order.pop((shelf, key), None)


class Shelf:
    """The kept responses of one model, at most `limit_bytes` of them: the least recently used go first."""

    def __init__(self, limit_bytes: int, size: CacheSize) -> None:
        self._limit_bytes = limit_bytes
        self._size = size
        self._kept: OrderedDict[bytes, KeptResponse] = OrderedDict()
        self.held_bytes = 0

    def find(self, key: bytes) -> KeptResponse | None:
        """The response under `key`, if it is there."""
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            self._size.used(self, key)
        return kept

    def put(self, key: bytes, kept: KeptResponse) -> None:
        """Keep a response, unless it is larger than all may be together."""
        if kept.size_bytes > self._limit_bytes:
            return
        self.drop(key)
        self._kept[key] = kept
        self.held_bytes += kept.size_bytes
        self._size.used(self, key)
        while self.held_bytes > self._limit_bytes:
            self.drop(next(iter(self._kept)))

    def drop(self, key: bytes) -> None:
        """Forget a response, if it is there."""
        kept = self._kept.pop(key, None)
        if kept is not None:
            self.held_bytes -= kept.size_bytes
            self._size.gone(self, key)

    def clear(self) -> None:
        """Forget all."""
        for key in [*self._kept]:
            self.drop(key)

    def __len__(self) -> int:
        return len(self._kept)


class _Flight:
    """A request that runs, and how many callers wait for it."""

    __slots__ = ("task", "waiters")

    def __init__(self, task: "asyncio.Task[tuple[str | None, KeptResponse]]") -> None:
        self.task = task
        self.waiters = 0


class Cached:
    """Answers from the shelf; what is not there runs once, however many ask for it meanwhile."""

    def __init__(self, runner: Runner, shelf: Shelf) -> None:
        self._runner = runner
        self._shelf = shelf
        self._flights: dict[bytes, _Flight] = {}

    @property
    def card(self) -> ModelCard:
        """What is known of the model."""
        return self._runner.card

    @property
    def ready(self) -> bool:
        """Whether the model can answer now."""
        return self._runner.ready

    async def infer_members(self, request: TensorRequest, rows: Sequence[int]) -> list[Outcome]:
        """A backlog's stacks are neither kept nor shared: to look for each row would cost more than to predict it."""
        return await self._runner.infer_members(request, rows)

    async def infer(self, request: TensorRequest) -> TensorResponse:
        """Predict, unless the answer is known, or is being made for somebody else."""
        key = cache_key(request)
        if key is None:
            return await self._runner.infer(request)
        while (kept := self._shelf.find(key)) is None:
            flight = self._flights.get(key)
            if flight is None:
                return await self._lead(key, request)
            if (kept := await self._follow(key, flight, request)) is not None:
                break
        return kept.response()

    def stream(self, requests: AsyncIterator[TensorRequest]) -> AsyncIterator[TensorResponse]:
        """Streams are neither kept nor shared."""
        return self._runner.stream(requests)

    async def call(self, request: CustomRequest) -> CustomResponse:
        """The model's own routes are not cached."""
        return await self._runner.call(request)

    async def close(self) -> None:
        """Wait for what is under way, forget everything, and close the model."""
        while self._flights:
            await asyncio.wait({flight.task for flight in self._flights.values()})
        self._shelf.clear()
        await self._runner.close()

    async def _lead(self, key: bytes, request: TensorRequest) -> TensorResponse:
        """Run a request that nobody else runs. It goes on without this caller while others wait for it."""
        flight = self._flights[key] = _Flight(asyncio.create_task(self._run(key, request)))
        flight.task.add_done_callback(_look_at)
        await self._landed(key, flight, None)
        response_id, kept = flight.task.result()
        response = kept.response()
        response.id = response_id
        return response

    async def _follow(self, key: bytes, flight: _Flight, request: TensorRequest) -> KeptResponse | None:
        """The answer to an equal request; None where it ended early, and this one has time left.

        Raises DeadlineExceeded when this request's time is over, and what the other one raises.
        """
        left = None if request.deadline is None else request.deadline - time.monotonic()
        await self._landed(key, flight, left)
        if not flight.task.done():
            raise DeadlineExceeded("the time that the request gave itself is over")
        if flight.task.cancelled() or isinstance(flight.task.exception(), DeadlineExceeded):
            return None
        return flight.task.result()[1]

    async def _landed(self, key: bytes, flight: _Flight, timeout_seconds: float | None) -> None:
        """Wait for a flight; the last one to give up waiting ends it."""
        flight.waiters += 1
        try:
            await asyncio.wait({flight.task}, timeout=timeout_seconds)
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.task.done():
                self._flights.pop(key)
                flight.task.cancel()

    async def _run(self, key: bytes, request: TensorRequest) -> tuple[str | None, KeptResponse]:
        """Predict and keep the answer; with it the id that the model gave it, for the request that it was made for."""
        task = asyncio.current_task()
        try:
            response = await self._runner.infer(request)
            kept = KeptResponse(response)
            self._shelf.put(key, kept)
            return response.id, kept
        finally:
            if (flight := self._flights.get(key)) is not None and flight.task is task:
                del self._flights[key]


def size_bytes(response: TensorResponse) -> int:
    """About the memory that a kept response takes."""
    parameters = [response.parameters, response.headers, *(tensor.parameters for tensor in response.outputs)]
    return (
        _OVERHEAD_BYTES
        + sum(_data_bytes(tensor) for tensor in response.outputs)
        + sum(len(repr(one)) for one in parameters if one)
    )


def _data_bytes(tensor: Tensor) -> int:
    if isinstance(tensor.data, np.ndarray):
        return tensor.data.nbytes
    return sum(_STRING_BYTES + len(item or "") for item in tensor.data)


def _own(tensor: Tensor) -> Tensor:
    """A copy that shares nothing: an array may be a view into a much larger one, which a model may write to."""
    data: Any
    if isinstance(tensor.data, np.ndarray):
        data = tensor.data.copy()
        data.flags.writeable = False
    else:
        data = [*tensor.data]
    return Tensor(tensor.name, tensor.datatype, [*tensor.shape], data, deepcopy(tensor.parameters), tensor.source)


def _shown(tensor: Tensor) -> Tensor:
    """A tensor around the same array, which cannot be written to, and its own copies of what can be."""
    data = tensor.data if isinstance(tensor.data, np.ndarray) else [*tensor.data]
    return Tensor(tensor.name, tensor.datatype, [*tensor.shape], data, deepcopy(tensor.parameters), tensor.source)


def _look_at(task: "asyncio.Task[Any]") -> None:
    """An error that nobody waits for is nobody's; unseen, the loop would complain of it."""
    if not task.cancelled():
        task.exception()
