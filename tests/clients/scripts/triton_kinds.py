"""The four clients of tritonclient, as far as their ways differ."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as triton_grpc_aio
import tritonclient.http as triton_http
import tritonclient.http.aio as triton_http_aio

MODULES: dict[str, Any] = {
    "http": triton_http,
    "http.aio": triton_http_aio,
    "grpc": triton_grpc,
    "grpc.aio": triton_grpc_aio,
}


class Waiting:
    """An asyncio client whose methods wait."""

    def __init__(self, client: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        async def called(*arguments: Any, **options: Any) -> Any:
            return await method(*arguments, **options)

        return lambda *arguments, **options: self._loop.run_until_complete(called(*arguments, **options))


class Triton:
    """A client, and how it is asked. `plain` is the client itself, `client` one whose methods wait."""

    def __init__(self, kind: str, address: str, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        self.module = MODULES[kind]
        self.http = kind.startswith("http")
        self.aio = kind.endswith("aio")
        self.loop = loop
        self.address = address
        self.kind = kind
        self.plain = loop.run_until_complete(self._made(options)) if self.aio else self._client(options)
        self.client = Waiting(self.plain, loop) if self.aio else self.plain
        self.as_json: dict[str, Any] = {} if self.http else {"as_json": True}

    def another(self, **options: Any) -> "Triton":
        """One more client of this kind."""
        return Triton(self.kind, self.address, self.loop, **options)

    def tensor(self, array: Any, datatype: str, name: str = "x", **how: Any) -> Any:
        """An input; over HTTP `binary_data` says how."""
        made = self.module.InferInput(name, list(array.shape), datatype)
        made.set_data_from_numpy(array, **how)
        return made

    def rows(self, **how: Any) -> Any:
        """What the model `sum` is asked with."""
        return self.tensor(np.array([[1.0, 2.0], [3.0, 5.0]]), "FP64", "rows", **how)

    def output(self, name: str, **how: Any) -> Any:
        """A requested output."""
        return self.module.InferRequestedOutput(name, **how)

    def answer(self, result: Any) -> dict[str, Any]:
        """id, model and parameters of a result, in one form."""
        response = result.get_response()
        if self.http:
            return {key: response.get(key) for key in ("id", "model_name", "model_version", "parameters")}
        parameters = {
            name: getattr(value, value.WhichOneof("parameter_choice")) for name, value in response.parameters.items()
        }
        names = {"id": response.id, "model_name": response.model_name, "model_version": response.model_version}
        return names | {"parameters": parameters}

    def close(self) -> None:
        """Let go of its connections."""
        self.client.close()

    def _client(self, options: dict[str, Any]) -> Any:
        return self.module.InferenceServerClient(self.address, **options)

    async def _made(self, options: dict[str, Any]) -> Any:
        return self._client(options)


def told(error: Any) -> list[Any]:
    """What an InferenceServerException says."""
    return [error.status(), error.message()]
