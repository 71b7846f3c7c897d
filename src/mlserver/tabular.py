"""What the runtimes of tabular models share: rows out of requests, features by name, outputs in their own shape."""

import asyncio
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from mlserver.codecs import NumpyCodec, NumpyRequestCodec, PandasCodec
from mlserver.codecs.base import RequestCodec
from mlserver.codecs.numpy import to_datatype
from mlserver.codecs.utils import content_type_of
from mlserver.errors import CodecError, InferenceError, MLServerError
from mlserver.model import MLModel
from mlserver.settings import ModelSettings
from mlserver.types import (
    Datatype,
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataTensor,
    RequestOutput,
    ResponseOutput,
    TensorData,
)
from mlserver.types.base import construct
from mlserver.types.tensors import Array
from mlserver.utils import get_model_uri


class Features:
    """What a model takes: how many features, their names where it knows them, and whether it wants a data frame."""

    __slots__ = ("count", "framed", "names")

    def __init__(self, count: int | None, names: Iterable[str] | None = None, *, framed: bool = False) -> None:
        self.count = count
        self.names = None if names is None else [str(name) for name in names]
        self.framed = framed and self.names is not None and importlib.util.find_spec("pandas") is not None


class TabularModel(MLModel):
    """A model of rows and features. Subclasses set `features` as they load, and say which outputs there are.

    A request is one tensor of shape `[rows, features]`, or, where the model knows its features' names, a tensor of
    shape `[rows, 1]` or `[rows]` for each, in any order. An output has the shape that the model's method returned and
    no parameters. Where the request, the output asked for, or its metadata in the settings name a content type, a codec
    encodes it.
    """

    row_wise = True

    features: Features

    @property
    def default_output(self) -> str:
        """The output of requests that ask for none."""
        return "predict"

    def method(self, name: str) -> Callable[[Any], Any]:
        """What makes the output `name` of rows. Raises InferenceError for an output that the model does not have."""
        raise NotImplementedError(f"{type(self).__name__}.method")

    def call(self, method: Callable[[Any], Any], rows: Any) -> Any:
        """`method(rows)`. Raises InferenceError where the rows are the reason that it fails."""
        return method(rows)

    def inputs_of_model(self) -> Iterable[MetadataTensor]:
        """Metadata of the inputs, as far as the model itself knows them."""
        return ()

    def outputs_of_model(self) -> Iterable[MetadataTensor]:
        """Metadata of the outputs, as far as the model itself knows them."""
        return ()

    async def metadata(self) -> MetadataModelResponse:
        """As in the settings; inputs and outputs that they leave out are told by the model where it knows them."""
        metadata = await super().metadata()
        if hasattr(self, "features"):
            metadata.inputs = metadata.inputs or list(self.inputs_of_model())
            metadata.outputs = metadata.outputs or list(self.outputs_of_model())
        return metadata

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer with the outputs asked for.

        Raises InferenceError for outputs the model does not have, and for input that it refuses.
        """
        asked = payload.outputs or [construct(RequestOutput, {"name": self.default_output, "parameters": None})]
        methods = [self.method(output.name) for output in asked]
        rows = self._rows(payload)
        outputs: list[ResponseOutput] = []
        for output, method in zip(asked, methods, strict=True):
            outputs += self._encoded(self.call(method, rows), output, payload, alone=len(asked) == 1)
        return construct(
            InferenceResponse,
            {
                "model_name": self.name,
                "model_version": self.version,
                "id": payload.id,
                "parameters": None,
                "outputs": outputs,
            },
        )

    def _rows(self, payload: InferenceRequest) -> Any:
        features = self.features
        if features.names is None:
            rows = self.decode_request(payload, default_codec=NumpyRequestCodec)
        else:
            several = PandasCodec if features.framed else _ColumnsCodec
            codec = several if len(payload.inputs) > 1 else NumpyRequestCodec
            rows = self._arranged(self.decode_request(payload, default_codec=codec), features.names)
        return self._checked(rows)

    def _checked(self, rows: Any) -> Any:
        """`rows` themselves, if they are as wide as the model wants them."""
        features, shape = self.features, getattr(rows, "shape", None)
        if shape is None or (features.count is None and (rows.size or not shape[0])):
            return rows
        if len(shape) == 2 and shape[1] == features.count:
            return rows
        # What a data frame has besides is the model's to judge.
        if features.framed and features.count is not None and len(shape) == 2 and shape[1] > features.count:
            return rows
        width = "..." if features.count is None else features.count
        raise InferenceError(f"model {self.name!r} expects input of shape [rows, {width}], got {list(shape)}")

    def _arranged(self, rows: Any, names: list[str]) -> Any:
        """Rows whose columns are in the model's order: a data frame, or an array."""
        if isinstance(rows, dict):
            self._check_names(rows, names, unknown=True)
            return np.column_stack([rows[name] for name in names])
        if PandasCodec.can_encode(rows):
            self._check_names(rows.columns, names, unknown=not self.features.framed)
            more = [name for name in rows.columns if name not in names] if len(rows.columns) > len(names) else []
            rows = rows[[*names, *more]]
            return _filled(rows) if self.features.framed else rows.to_numpy()
        if self.features.framed and isinstance(rows, np.ndarray) and rows.ndim == 2 and rows.shape[1] == len(names):
            values = rows.astype(object) if rows.dtype.kind in "US" else rows
            return _filled(_frame(values, names))
        if self.features.framed and isinstance(rows, list) and len(names) == 1:
            return _filled(_frame([[row] for row in rows], names))
        return rows

    def _check_names(self, found: Iterable[str], names: list[str], *, unknown: bool) -> None:
        known, given = set(names), set(found)
        wrong = {"missing": [name for name in names if name not in given]}
        if unknown:
            wrong["unknown"] = sorted(given - known)
        said = "; ".join(f"{what}: {', '.join(map(repr, which[:20]))}" for what, which in wrong.items() if which)
        if said:
            raise InferenceError(f"model {self.name!r} expects its features as inputs by name; {said:.2000}")

    def _encoded(
        self, result: Any, output: RequestOutput, request: InferenceRequest, *, alone: bool
    ) -> Iterator[ResponseOutput]:
        """The outputs for what a method returned: one, or one for each column of a data frame."""
        described = self._outputs_index.get(output.name)
        by_codec = content_type_of(output) or content_type_of(request) or content_type_of(described)
        columns = _columns(result)
        if columns is not None and not alone:
            raise InferenceError(f"output {output.name!r} is a data frame and can only be asked for alone")
        for name, values in (columns or {output.name: result}).items():
            values = _dense(values)
            if by_codec:
                wanted = construct(RequestOutput, {"name": name, "parameters": output.parameters})
                yield self.encode(values, wanted, default_codec=NumpyCodec)
            else:
                yield plain_output(name, values)


class _ColumnsCodec(RequestCodec):
    """Columns of numbers by name, without pandas."""

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> dict[str, Array]:
        columns: dict[str, Array] = {}
        for tensor in request.inputs:
            values = NumpyCodec.decode_input(tensor)
            if values.ndim > 2 or values.size != (len(values) if values.ndim else 1) or tensor.name in columns:
                raise CodecError(f"input {tensor.name!r}: expected one tensor of shape [rows, 1], found {tensor.shape}")
            columns[tensor.name] = values.reshape(-1)
        if len({len(values) for values in columns.values()}) > 1:
            raise CodecError("expected inputs of as many rows each")
        return columns


async def model_file(settings: ModelSettings, wellknown_filenames: Sequence[str]) -> str:
    """The file of a model. Raises InvalidModelURI, and MLServerError for a folder without one and for a URL."""
    uri = await get_model_uri(settings, wellknown_filenames)
    if await asyncio.to_thread(os.path.isdir, uri):
        raise MLServerError(f"model {settings.name!r}: expected one of {', '.join(wellknown_filenames)} in {uri}")
    if not await asyncio.to_thread(os.path.isfile, uri):
        raise MLServerError(f"model {settings.name!r}: expected a file on this machine as `uri`, found {uri:.200}")
    return uri


def thread_count() -> int | None:
    """The threads that `OMP_NUM_THREADS` gives a library; None where it does not say."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else None


def feature_tensors(features: Features, datatype: Datatype) -> Iterator[MetadataTensor]:
    """Metadata of inputs that are all of one datatype: one for each name, else one for all."""
    if features.names is None:
        yield MetadataTensor(name="input-0", datatype=datatype, shape=[-1, features.count or -1])
        return
    for name in features.names:
        yield MetadataTensor(name=name, datatype=datatype, shape=[-1, 1])


def plain_output(name: str, values: Any) -> ResponseOutput:
    """The output for an array in its own shape, without parameters."""
    array = np.asarray(values)
    if array.dtype.kind == "O":
        # Labels may be numbers in an array of objects.
        array = np.asarray(array.tolist())
    datatype = to_datatype(array.dtype)
    return construct(
        ResponseOutput,
        {
            "name": name,
            "shape": list(array.shape),
            "datatype": datatype.value,
            "parameters": None,
            "data": TensorData(array),
        },
    )


def numbers_of(rows: Any) -> Array:
    """Rows as an array of numbers. Raises InferenceError where they are none."""
    array = np.asarray(rows)
    if array.dtype.kind == "O":
        try:
            array = array.astype("f8")
        except (TypeError, ValueError) as error:
            raise InferenceError(f"expected numbers: {error}") from None
    if array.dtype.kind not in "biuf":
        raise InferenceError("expected numbers, found text")
    return array


def _dense(values: Any) -> Any:
    """An array with the rows in its first dimension: of a sparse matrix, or of a list with an array per target."""
    if hasattr(values, "toarray"):
        return values.toarray()
    if isinstance(values, list) and len({np.shape(each) for each in values}) == 1 and np.ndim(values[0]):
        return np.stack(values, axis=1)
    return values


def _columns(result: Any) -> dict[str, Any] | None:
    """The columns of a data frame; None for anything else. pandas is optional, and made the frame if there is one."""
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(result, pandas.DataFrame):
        return None
    return {str(name): result[name].to_numpy() for name in result.columns}


def _frame(values: Any, names: list[str]) -> Any:
    return importlib.import_module("pandas").DataFrame(values, columns=names)


def _filled(frame: Any) -> Any:
    """A data frame as those that models are trained on: text as `str`, and NaN for what is missing in it."""
    for name in frame.columns[[dtype.kind == "O" for dtype in frame.dtypes]]:
        frame = frame.assign(**{name: [_cell(value) for value in frame[name]]})
    return frame


def _cell(value: Any) -> Any:
    if value is None:
        return np.nan
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    return value
