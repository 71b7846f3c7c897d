"""What tritonclient does beside one call after the other."""

import asyncio
import queue
from collections.abc import AsyncIterator
from typing import Any

import numpy as np

from tests.clients.scripts.checks import Checks
from tests.clients.scripts.triton_kinds import Triton

CHECKS = Checks()
GRPC_CHECKS = Checks()

PATIENCE_SECONDS = 30


@CHECKS("asynchronous calls")
def several_at_once(triton: Triton) -> Any:
    """Twenty calls that do not wait for each other; their sums in order."""
    calls = [triton.tensor(np.array([[float(number), 1.0]]), "FP64", "rows") for number in range(20)]
    if triton.aio:
        results = triton.loop.run_until_complete(_gathered(triton, calls))
    elif triton.http:
        waiting = [triton.client.async_infer("sum", [call]) for call in calls]
        results = [one.get_result(timeout=PATIENCE_SECONDS) for one in waiting]
    else:
        results = _called_back(triton, calls)
    return sorted(result.as_numpy("sums").tolist()[0] for result in results)


async def _gathered(triton: Triton, calls: list[Any]) -> list[Any]:
    return list(await asyncio.gather(*(triton.plain.infer("sum", [call]) for call in calls)))


def _called_back(triton: Triton, calls: list[Any]) -> list[Any]:
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    for call in calls:
        triton.client.async_infer("sum", [call], lambda result, error: answers.put((result, error)))
    results = []
    for _ in calls:
        result, error = answers.get(timeout=PATIENCE_SECONDS)
        if error:
            raise error
        results.append(result)
    return results


def _asked(triton: Triton) -> list[dict[str, Any]]:
    """A stream of three answers, a mistake, and a request to another model."""
    three = triton.tensor(np.array([[3.0]]), "FP64")
    return [
        {"model_name": "count", "inputs": [three], "request_id": "a", "enable_empty_final_response": True},
        {"model_name": "none", "inputs": [three], "request_id": "b"},
        {"model_name": "sum", "inputs": [triton.rows()], "request_id": "c"},
    ]


@GRPC_CHECKS("streams")
def several_requests(triton: Triton) -> Any:
    """Per message its id and how many outputs it has, or the error."""
    requests = _asked(triton)
    if triton.aio:
        return triton.loop.run_until_complete(_iterated(triton, requests))
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    triton.client.start_stream(lambda result, error: answers.put((result, error)))
    for request in requests:
        triton.client.async_stream_infer(**request)
    told = [_told(*answers.get(timeout=PATIENCE_SECONDS)) for _ in range(6)]
    triton.client.stop_stream()
    return told


async def _iterated(triton: Triton, requests: list[dict[str, Any]]) -> list[Any]:
    async def sent() -> AsyncIterator[dict[str, Any]]:
        for request in requests:
            yield request

    return [_told(result, error) async for result, error in triton.plain.stream_infer(sent())]


def _told(result: Any, error: Any) -> Any:
    if error:
        return error.message()
    response = result.get_response()
    final = response.parameters["triton_final_response"].bool_param
    return [response.id, len(response.outputs), final]


@GRPC_CHECKS("streams")
def cancelled(triton: Triton) -> Any:
    """A stream that nobody wants any more leaves the server well."""
    endless = triton.tensor(np.array([[1e9]]), "FP64")
    if triton.aio:
        triton.loop.run_until_complete(_first_only(triton, endless))
    else:
        answers: queue.Queue[tuple[Any, Any]] = queue.Queue(maxsize=10_000_000)
        triton.client.start_stream(lambda result, error: answers.put((result, error)))
        triton.client.async_stream_infer("count", [endless])
        answers.get(timeout=PATIENCE_SECONDS)
        triton.client.stop_stream(cancel_requests=True)
    return triton.client.is_server_ready()


async def _first_only(triton: Triton, endless: Any) -> None:
    async def sent() -> AsyncIterator[dict[str, Any]]:
        yield {"model_name": "count", "inputs": [endless]}

    stream = triton.plain.stream_infer(sent())
    async for _ in stream:
        break
    stream.cancel()
