"""The protocol's messages as pydantic models: what runtimes and callers in code see.

They are validated when made by keyword or from JSON, and not on assignment. `model_dump` and `model_dump_json` leave
out what was not set and what is None, as the protocol's JSON does; pass `exclude_unset=False, exclude_none=False` for
everything.
"""

from collections.abc import Iterator
from enum import StrEnum

from pydantic import RootModel

from mlserver.types.base import Message
from mlserver.types.data import TensorData
from mlserver.types.parameters import Parameters


class Datatype(StrEnum):
    """Element types of tensors; models store the plain string."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    FP32 = "FP32"
    FP64 = "FP64"
    BF16 = "BF16"
    BYTES = "BYTES"


class State(StrEnum):
    """States of a model in the repository's index."""

    UNKNOWN = "UNKNOWN"
    READY = "READY"
    UNAVAILABLE = "UNAVAILABLE"
    LOADING = "LOADING"
    UNLOADING = "UNLOADING"


class MetadataTensor(Message):
    """A tensor of a model's metadata; -1 in `shape` is a dimension of any length."""

    name: str
    datatype: Datatype
    shape: list[int]
    parameters: Parameters | None = None


class MetadataServerResponse(Message):
    """What a server says of itself."""

    name: str
    version: str
    extensions: list[str]


class MetadataServerErrorResponse(Message):
    """Why a server's metadata could not be had."""

    error: str


class MetadataModelResponse(Message):
    """What a model says of itself."""

    name: str
    versions: list[str] | None = None
    platform: str
    inputs: list[MetadataTensor] | None = None
    outputs: list[MetadataTensor] | None = None
    parameters: Parameters | None = None


class MetadataModelErrorResponse(Message):
    """Why a model's metadata could not be had."""

    error: str


class RequestInput(Message):
    """One input tensor: `data` in row-major order, nested or flat, or an array."""

    name: str
    shape: list[int]
    datatype: Datatype
    parameters: Parameters | None = None
    data: TensorData


class RequestOutput(Message):
    """An output asked for by name."""

    name: str
    parameters: Parameters | None = None


class ResponseOutput(Message):
    """One output tensor: `data` in row-major order, nested or flat, or an array."""

    name: str
    shape: list[int]
    datatype: Datatype
    parameters: Parameters | None = None
    data: TensorData


class InferenceRequest(Message):
    """A request to a model; without `outputs` it is the model's choice which to answer with."""

    id: str | None = None
    parameters: Parameters | None = None
    inputs: list[RequestInput]
    outputs: list[RequestOutput] | None = None


class InferenceResponse(Message):
    """A model's answer."""

    model_name: str
    model_version: str | None = None
    id: str | None = None
    parameters: Parameters | None = None
    outputs: list[ResponseOutput]


class InferenceErrorResponse(Message):
    """Why there is no answer."""

    error: str | None = None


class RepositoryIndexRequest(Message):
    """Asks for the repository's index; with `ready`, only for models in state READY."""

    ready: bool | None = None


class RepositoryIndexResponseItem(Message):
    """One model, in one version, of the repository's index."""

    name: str
    version: str | None = None
    state: State
    reason: str


class RepositoryIndexResponse(RootModel[list[RepositoryIndexResponseItem]]):
    """The repository's index: iterates, indexes and counts as a list."""

    def __iter__(self) -> Iterator[RepositoryIndexResponseItem]:  # type: ignore[override]
        return iter(self.root)

    def __getitem__(self, index: int) -> RepositoryIndexResponseItem:
        return self.root[index]

    def __len__(self) -> int:
        return len(self.root)


class RepositoryLoadErrorResponse(Message):
    """Why a model was not loaded."""

    error: str | None = None


class RepositoryUnloadErrorResponse(Message):
    """Why a model was not unloaded."""

    error: str | None = None
