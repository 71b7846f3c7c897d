"""Messages to public types and back, by property; and what the documented import paths have."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlserver.grpc import converters
from mlserver.grpc.dataplane_pb2 import InferTensorContents, ModelInferRequest, ModelInferResponse
from mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataServerResponse,
    MetadataTensor,
    Parameters,
    RepositoryIndexRequest,
    RepositoryIndexResponse,
    RepositoryIndexResponseItem,
    RequestInput,
    RequestOutput,
    ResponseOutput,
    State,
    TensorData,
)
from mlserver.types.tensors import DTYPES

_TEXT = st.text(max_size=8)
_VALUES = st.one_of(st.booleans(), st.integers(-(2**63), 2**64 - 1), _TEXT, st.floats(allow_nan=False))


@st.composite
def tensors(draw: Any) -> tuple[str, list[int], Any]:
    """A datatype, a shape, and data: an array, or a list of bytes."""
    datatype = draw(st.sampled_from([*DTYPES, "BYTES"]))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    if datatype == "BYTES":
        size = int(np.prod(shape))
        return datatype, list(shape), draw(st.lists(st.binary(max_size=8), min_size=size, max_size=size))
    return datatype, list(shape), draw(hnp.arrays(DTYPES[datatype], shape))


def same(one: TensorData, other: Any, datatype: str) -> bool:
    """Equal bit by bit."""
    if not isinstance(other, np.ndarray):
        return bool(list(one) == other)
    array = one.as_array(datatype, list(other.shape))
    return bool(array.dtype == other.dtype and array.tobytes() == other.tobytes())


parameters_ = st.dictionaries(st.text(st.characters(categories=["Ll"]), min_size=1, max_size=8), _VALUES, max_size=3)


@given(tensors(), parameters_, st.booleans())
def test_requests(tensor: tuple[str, list[int], Any], parameters: dict[str, Any], use_raw: bool) -> None:
    datatype, shape, data = tensor
    made: Any = {"name": "x", "shape": shape, "datatype": datatype, "data": data}
    request = InferenceRequest(
        id="one",
        parameters=Parameters(**parameters),
        inputs=[RequestInput(**made, parameters=Parameters(own=1))],
        outputs=[RequestOutput(name="y", parameters=Parameters(content_type="np"))],
    )
    message = converters.ModelInferRequestConverter.from_types(request, "m", "v", use_raw=use_raw)
    assert (message.model_name, message.model_version) == ("m", "v")
    assert bool(message.raw_input_contents) == (use_raw or datatype in ("FP16", "BF16"))
    back = converters.ModelInferRequestConverter.to_types(ModelInferRequest.FromString(message.SerializeToString()))
    assert (back.id, back.outputs) == ("one", request.outputs)
    assert (back.parameters or Parameters()) == request.parameters
    (value,) = back.inputs
    assert (value.name, value.datatype, value.shape) == ("x", datatype, shape)
    assert same(value.data, data, datatype)


@given(tensors(), st.booleans())
def test_responses(tensor: tuple[str, list[int], Any], use_raw: bool) -> None:
    datatype, shape, data = tensor
    made: Any = {"name": "y", "shape": shape, "datatype": datatype, "data": data}
    response = InferenceResponse(model_name="m", model_version="v", id="one", outputs=[ResponseOutput(**made)])
    message = converters.ModelInferResponseConverter.from_types(response, use_raw=use_raw)
    back = converters.ModelInferResponseConverter.to_types(ModelInferResponse.FromString(message.SerializeToString()))
    assert (back.model_name, back.model_version, back.id) == ("m", "v", "one")
    (value,) = back.outputs
    assert (value.name, value.datatype, value.shape) == ("y", datatype, shape)
    assert same(value.data, data, datatype)


@pytest.mark.parametrize("use_raw", [False, True])
def test_single_tensors(use_raw: bool) -> None:
    value = RequestInput(name="x", shape=[2], datatype="FP32", data=[1, 2], parameters=Parameters(content_type="np"))
    message = converters.InferInputTensorConverter.from_types(value, use_raw=use_raw)
    assert message.HasField("contents") is not use_raw
    output = ResponseOutput(name="y", shape=[2], datatype="BYTES", data=["a", b"b"])
    sent = converters.InferOutputTensorConverter.from_types(output, use_raw=use_raw)
    assert list(sent.contents.bytes_contents) == ([] if use_raw else [b"a", b"b"])
    if not use_raw:
        assert converters.InferInputTensorConverter.to_types(message) == value
        assert list(converters.InferOutputTensorConverter.to_types(sent).data) == [b"a", b"b"]
    asked = RequestOutput(name="y", parameters=Parameters(content_type="np"))
    converter = converters.InferRequestedOutputTensorConverter
    assert converter.to_types(converter.from_types(asked)) == asked


def test_integers_of_other_widths_are_cast_where_they_fit() -> None:
    message = ModelInferRequest.InferInputTensor(
        name="x", datatype="FP64", shape=[2], contents=InferTensorContents(int64_contents=[1, 2])
    )
    value = converters.InferInputTensorConverter.to_types(message)
    assert value.data.as_array("FP64", [2]).tolist() == [1.0, 2.0]


def test_arrays_that_a_model_is_given_are_writable_and_its_own() -> None:
    request = InferenceRequest(inputs=[RequestInput(name="x", shape=[2], datatype="FP32", data=[1, 2])])
    for use_raw in (False, True):
        message = converters.ModelInferRequestConverter.from_types(request, "m", use_raw=use_raw)
        array = converters.ModelInferRequestConverter.to_types(message).inputs[0].data.array
        assert array is not None
        array += 1
        assert array.tolist() == [2.0, 3.0]


def test_metadata_and_the_repositorys_index() -> None:
    tensor = MetadataTensor(name="x", datatype="FP32", shape=[-1, 4], parameters=Parameters(content_type="np"))
    model = MetadataModelResponse(
        name="m", versions=["1"], platform="p", inputs=[tensor], outputs=[], parameters=Parameters(own=True)
    )
    server = MetadataServerResponse(name="s", version="1", extensions=["statistics"])
    item = RepositoryIndexResponseItem(name="m", version="1", state=State.READY, reason="")
    asked = RepositoryIndexRequest(ready=True)
    for converter, value in (
        (converters.ModelMetadataResponseConverter, model),
        (converters.ServerMetadataResponseConverter, server),
        (converters.RepositoryIndexResponseConverter, RepositoryIndexResponse(root=[item])),
        (converters.RepositoryIndexRequestConverter, asked),
    ):
        conversion: Any = converter
        assert conversion.to_types(conversion.from_types(value)) == value
    kinds = converters.ParametersConverter.from_types(Parameters(content_type="np", own=2**63))
    assert converters.ParametersConverter.to_types(kinds) == Parameters(content_type="np", own=2**63)
