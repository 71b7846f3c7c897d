"""gRPC load generator: a closed loop over N connections, in a process of its own.

`python -m benchmarks.grpc_load --case grpc-light --folder F --port P --root PID` prints one Figures object as JSON.
Requests are encoded beforehand, with raw contents; answers are compared as bytes with the connection's last right one.
Python's own client costs as much as a server does: the figure to look at is the server's CPU time per request.
"""

import asyncio
import gc
import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import uvloop

from benchmarks.cases import Case, Question, WrongAnswerError, questions
from benchmarks.figures import Figures
from benchmarks.http_load import parsed_arguments, sleep, window
from mlserver.grpc.dataplane_pb2 import ModelInferRequest, ModelInferResponse

_INFER = "/inference.GRPCInferenceService/ModelInfer"


class Connection:
    """Asks its one question again as soon as it has the answer; keeps the seconds each round took."""

    def __init__(self, question: Question, request_id: str, model: str, port: int) -> None:
        self.latencies: list[float] = []
        self._question = question
        self._request = _request(question, request_id, model)
        self._right = b""
        # Else all channels of a process share one connection.
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])

    async def run(self) -> None:
        """Until cancelled. Raises WrongAnswerError, and gRPC's errors."""
        call: Any = self._channel.unary_unary(_INFER)
        while True:
            begun = time.perf_counter()
            answer = await call(self._request)
            self.latencies.append(time.perf_counter() - begun)
            if answer != self._right:
                _check(answer, self._question)
                self._right = answer

    async def close(self) -> None:
        """No further request."""
        await self._channel.close()


def _request(question: Question, request_id: str, model: str) -> bytes:
    rows = np.array(question.rows, np.float32)
    request = ModelInferRequest(model_name=model, id=request_id, raw_input_contents=[rows.tobytes()])
    request.inputs.add(name="predict", datatype="FP32", shape=rows.shape)
    return request.SerializeToString()


def _check(answer: bytes, question: Question) -> None:
    response = ModelInferResponse.FromString(answer)
    found = np.frombuffer(b"".join(response.raw_output_contents), np.float32).tolist()
    right = len(found) == len(question.expected)
    if not right or not all(math.isclose(*pair, rel_tol=1e-5) for pair in zip(found, question.expected, strict=True)):
        raise WrongAnswerError(f"wrong answer: {found[:8]}, expected {question.expected[:8]}")


async def run_load(case: Case, folder: Path, port: int, root: int, warmup: float, seconds: float) -> Figures:
    """Load for `warmup` seconds, then measure the tree of `root` for `seconds`."""
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asked = questions(case, folder)
    connections = [
        Connection(asked[n % len(asked)], f"c{n % len(asked)}", case.model.name, port) for n in range(case.connections)
    ]
    tasks = [asyncio.create_task(connection.run()) for connection in connections]
    for task in tasks:
        task.add_done_callback(lambda done: _tell(done, failed))
    await sleep(warmup, failed)
    figures = await window(connections, root, seconds, failed)
    for task, connection in zip(tasks, connections, strict=True):
        task.cancel()
        await connection.close()
    return figures


def _tell(done: asyncio.Task[None], failed: asyncio.Future[None]) -> None:
    error = None if done.cancelled() else done.exception()
    if error is not None and not failed.done():
        failed.set_exception(error)


def main() -> None:
    """Run one window and print its figures."""
    args = parsed_arguments("closed-loop gRPC load on one case")
    gc.disable()  # nothing here makes cycles; a collection would show up as latency
    figures = uvloop.run(run_load(args.case, args.folder, args.port, args.root, args.warmup, args.seconds))
    print(json.dumps(asdict(figures)))


if __name__ == "__main__":
    main()
