"""Words of the protocol in a request's `parameters`: they ask something of the server. They are taken out, so that
neither models nor batch keys see them.
"""

from collections.abc import Sequence
from typing import Any

from mlserver.errors import InferenceError
from mlserver.types.tensors import Tensor, TensorRequest
from mlserver.wire.json_reader import InputHead, RequestHead, has_parameters

_MICROSECOND = 1e-6
BINARY_SIZE = "binary_data_size"
"""How many bytes behind the JSON are an input's, or an output's."""

_SHARED_MEMORY = "shared_memory_region"


class Wishes:
    """What a request asks of the door.

    `timeout_seconds` is how long its answer is worth something, None for ever. `binary` says how outputs are sent that
    nothing was said of, `outputs` what was said of some by name; `classes` is how many classes of an output are wanted.
    """

    __slots__ = ("binary", "classes", "outputs", "timeout_seconds")

    def __init__(self) -> None:
        self.timeout_seconds: float | None = None
        self.binary = False
        self.outputs: dict[str, bool] = {}
        self.classes: dict[str, int] = {}

    def is_binary(self, output: str) -> bool:
        """Whether an output of this name is sent as binary data."""
        return self.outputs.get(output, self.binary)

    @property
    def any_binary(self) -> bool:
        """Whether some output may have to be sent as binary data."""
        return self.binary or True in self.outputs.values()


NO_WISHES = Wishes()
"""Of a request without parameters, as nearly all are. Not to be changed."""


def take_wishes(head: RequestHead | TensorRequest) -> Wishes:
    """Take the protocol's words out of the parameters of a request. Raises InferenceError for values that cannot be.

    Sizes of binary data have been taken out before, by who read the data.
    """
    if not has_parameters(head):
        return NO_WISHES
    inputs: Sequence[InputHead | Tensor] = head.inputs
    for index, value in enumerate(inputs):
        if value.parameters is not None:
            _of_input(value.parameters, f"`$.inputs[{index}].parameters`", read=isinstance(head, TensorRequest))
            value.parameters = value.parameters or None
    wishes = Wishes()
    if head.parameters is not None:
        _of_request(head.parameters, wishes, "`$.parameters`" if isinstance(head, RequestHead) else "`parameters`")
        head.parameters = head.parameters or None
    for output in head.outputs or ():
        if output.parameters is not None:
            _of_output(output.name, output.parameters, wishes)
            output.parameters = output.parameters or None
    return wishes


def _of_request(parameters: dict[str, Any], wishes: Wishes, at: str) -> None:
    wishes.binary = _flag(parameters, "binary_data_output", at) or False
    microseconds = _count(parameters, "timeout", at)
    _count(parameters, "priority", at)  # accepted, and all are alike
    if microseconds:  # 0 stands for the server's default
        wishes.timeout_seconds = microseconds * _MICROSECOND


def _of_output(name: str, parameters: dict[str, Any], wishes: Wishes) -> None:
    at = f"output {name[:64]!r}"
    _refuse_shared_memory(parameters, at)
    binary = _flag(parameters, "binary_data", at)
    classes = _count(parameters, "classification", at)
    if binary is not None:
        wishes.outputs[name] = binary
    if classes:
        wishes.classes[name] = classes


def _flag(parameters: dict[str, Any], name: str, at: str) -> bool | None:
    value = parameters.pop(name, None)
    if value is None or isinstance(value, bool):
        return value
    raise InferenceError(f"expected true or false for {name}, got {value!r:.64} - at {at}")


def _count(parameters: dict[str, Any], name: str, at: str) -> int:
    value = parameters.pop(name, 0)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64:
        return value
    shown = f"{value!r:.64}" if not isinstance(value, int) else "one out of range"
    raise InferenceError(f"expected a whole number >= 0 for {name}, got {shown} - at {at}")


def no_bytes_follow(head: RequestHead) -> bool:
    """Whether inputs have `binary_data_size`, and 0 is all they say: then there is nothing behind the JSON."""
    sizes = [
        value.parameters[BINARY_SIZE] for value in head.inputs if value.parameters and BINARY_SIZE in value.parameters
    ]
    return bool(sizes) and all(size == 0 for size in sizes)


def _of_input(parameters: dict[str, Any], at: str, *, read: bool) -> None:
    """Where an input has been `read`, how many bytes it had is nobody's business any more: KServe says it over gRPC."""
    _refuse_shared_memory(parameters, at)
    if parameters.pop(BINARY_SIZE, None) is not None and not read:
        raise InferenceError(f"{BINARY_SIZE} without the header Inference-Header-Content-Length - at {at}")


def _refuse_shared_memory(parameters: dict[str, Any], at: str) -> None:
    if _SHARED_MEMORY in parameters:
        raise InferenceError(f"shared memory is not supported: send the tensor's data - at {at}")
