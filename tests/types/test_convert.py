import copy
import pickle
from typing import Any

import numpy as np
import pytest

from mlserver.errors import CodecError, Kind, ModelError
from mlserver.types import InferenceRequest, InferenceResponse, Parameters, RequestInput, ResponseOutput, TensorData
from mlserver.types.convert import from_public, request_from_public, response_to_public, to_public
from mlserver.types.tensors import OutputRequest, Tensor, TensorRequest, TensorResponse


def request(tensor: Tensor, **rest: Any) -> TensorRequest:
    return TensorRequest("m", "v", [tensor], **rest)


def floats(source: bytes | None = None) -> Tensor:
    return Tensor("x", "FP32", [1, 2], np.array([[1, 0.1]], "<f4"), None, source)


def answer(data: Any, shape: list[int], datatype: str = "FP32", **rest: Any) -> InferenceResponse:
    output = ResponseOutput(name="y", shape=shape, datatype=datatype, data=data)
    return InferenceResponse(model_name="m", outputs=[output], **rest)


def test_to_public_is_around_the_same_array() -> None:
    tensor = floats(b"[[1, 0.1]]")
    public = to_public(request(tensor, id="7", outputs=[OutputRequest("y", {"content_type": "np"})]))
    assert public.id == "7"
    assert public.parameters is None
    assert public.inputs[0].parameters is None
    assert public.inputs[0].data.array is tensor.data
    assert public.inputs[0].data == [[1, 0.1]]
    assert public.outputs is not None
    assert public.outputs[0].parameters == Parameters(content_type="np")


def test_to_public_is_a_whole_message() -> None:
    public = to_public(request(floats(b"[1, 0.1]"), id="7", parameters={"a": 1}, headers=lambda: {"h": "1"}))
    same = InferenceRequest(
        id="7",
        parameters=Parameters(a=1, headers={"h": "1"}),
        inputs=[RequestInput(name="x", shape=[1, 2], datatype="FP32", data=[1, 0.1])],
    )
    assert public == same
    assert public.model_dump() == same.model_dump()
    assert public.model_dump_json() == same.model_dump_json()
    assert copy.deepcopy(public) == same
    assert pickle.loads(pickle.dumps(public)) == same
    assert repr(public) == repr(same)


def test_a_model_cannot_change_the_tensor_by_its_shape() -> None:
    tensor = floats()
    to_public(request(tensor)).inputs[0].shape.append(3)
    assert tensor.shape == [1, 2]


@pytest.mark.parametrize(
    ("source", "seen"),
    [(None, ["a", "b"]), (b'["a","b"]', ["a", "b"]), (b' [ ["a"], ["b"]]', [["a"], ["b"]])],
)
def test_strings_look_as_they_were_sent(source: bytes | None, seen: Any) -> None:
    public = to_public(request(Tensor("x", "BYTES", [2, 1], ["a", "b"], None, source)))
    assert public.inputs[0].data == seen


def test_from_public_keeps_arrays() -> None:
    array = np.array([[1, 2]], "<f4")
    found = from_public(answer(array, [1, 2], id="1", model_version="v2"), model="other", version="v1")
    assert (found.model, found.version, found.id, found.parameters, found.headers) == ("m", "v2", "1", None, None)
    assert found.outputs[0].data is array
    assert found.outputs[0].parameters is None


def test_from_public_fills_in_what_the_answer_leaves_out() -> None:
    found = from_public(InferenceResponse(model_name="", outputs=[]), model="m", version="v1")
    assert (found.model, found.version, found.outputs) == ("m", "v1", [])


def test_parameters_and_headers_part() -> None:
    parameters = Parameters(content_type="np", a=1, headers={"h": "1"})
    response = answer([1], [1], parameters=parameters)
    response.outputs[0].parameters = {"b": 2}  # type: ignore[assignment]
    found = from_public(response, model="m", version=None)
    assert found.parameters == {"content_type": "np", "a": 1}
    assert found.headers == {"h": "1"}
    assert found.outputs[0].parameters == {"b": 2}


def test_parameters_may_be_assigned_as_a_dict() -> None:
    response = answer([1], [1])
    response.parameters = {"a": 1, "headers": {"h": "1"}}  # type: ignore[assignment]
    found = from_public(response, model="m", version=None)
    assert (found.parameters, found.headers) == ({"a": 1}, {"h": "1"})


def test_request_headers_passed_on_unseen_are_not_the_answers() -> None:
    public = to_public(request(floats(), parameters={"a": 1}, headers=lambda: {"authorization": "x"}))
    response = answer([1], [1], parameters=public.parameters)
    assert from_public(response, model="m", version=None).headers is None
    assert request_from_public(public, "m", None).headers is not None


# Data, shape and datatype of an output; the array it becomes.
OUTPUTS: list[tuple[Any, list[int], str, Any]] = [
    ([1, 2], [2, 1], "FP32", np.array([[1], [2]], "f4")),
    ([[1, 2], [3, 4]], [4], "INT64", np.array([1, 2, 3, 4])),
    (np.array([8]), [1, 1], "INT64", np.array([[8]])),
    (np.array([1.5]), [1], "FP32", np.array([1.5], "f4")),
    (np.array([1, 2, 3]), [-1], "UINT8", np.array([1, 2, 3], "u1")),
    (np.array(1.0), [], "FP64", np.array(1.0)),
    ([], [0, 2], "FP32", np.zeros((0, 2), "f4")),
]


@pytest.mark.parametrize(("data", "shape", "datatype", "expected"), OUTPUTS)
def test_outputs_become_arrays(data: Any, shape: list[int], datatype: str, expected: Any) -> None:
    tensor = from_public(answer(data, shape, datatype), model="m", version=None).outputs[0]
    assert isinstance(tensor.data, np.ndarray)
    np.testing.assert_array_equal(tensor.data, expected)
    assert tensor.data.dtype == expected.dtype
    assert tensor.shape == list(expected.shape)


def test_read_only_arrays_are_not_copied() -> None:
    frozen = np.frombuffer(b"\1\2", dtype="u1")
    assert from_public(answer(frozen, [2], "UINT8"), model="m", version=None).outputs[0].data is frozen


@pytest.mark.parametrize(
    ("data", "shape", "found", "found_shape"),
    [
        (["a", b"b"], [2], ["a", b"b"], [2]),
        ([["a"], ["b"]], [2, 1], ["a", "b"], [2, 1]),
        (["a", None], [-1], ["a", None], [2]),
        ("single", [1], ["single"], [1]),
        ([], [0], [], [0]),
        (['{"a": 1}'], [8], ['{"a": 1}'], [1]),
        ([b"\xff\xfe"], [1, 2], [b"\xff\xfe"], [1, 1]),
    ],
)
def test_strings_stay_a_list(data: Any, shape: list[int], found: Any, found_shape: list[int]) -> None:
    tensor = from_public(answer(data, shape, "BYTES"), model="m", version=None).outputs[0]
    assert (tensor.data, tensor.shape) == (found, found_shape)


@pytest.mark.parametrize(
    ("buffer", "elements"), [(b"abcdef", [b"abc", b"def"]), ("abcdef", None), (b"abcde", None), (b"", None)]
)
def test_the_numpy_codecs_buffer_is_parted(buffer: Any, elements: list[bytes] | None) -> None:
    response = answer([buffer], [2, 1], "BYTES")
    response.outputs[0].parameters = Parameters(content_type="np")
    if elements is None:
        with pytest.raises(ModelError, match="found 1 elements"):
            from_public(response, model="m", version=None)
    else:
        assert from_public(response, model="m", version=None).outputs[0].data == elements


@pytest.mark.parametrize(
    ("data", "shape", "datatype", "message"),
    [
        ([1, 2], [3], "FP32", r"model 'm': output 'y': expected data of shape \[3\], found 2 elements"),
        (np.array([1.5]), [1], "INT64", "output 'y': expected numbers of INT64, found 1.5"),
        (["a"], [1], "FP32", "output 'y': expected numbers of FP32, found strings"),
        (["a"], [2], "BYTES", r"output 'y': expected data of shape \[2\], found 1 elements"),
        ([1], [1], "BYTES", "output 'y': expected strings for BYTES, found int 1"),
        (np.array([1]), [1], "BYTES", "output 'y': expected strings for BYTES, found numbers of int64"),
        ([1], [1], "FP8", "output 'y': expected a datatype of"),
    ],
)
def test_a_misfit_is_the_models_mistake(data: Any, shape: list[int], datatype: str, message: str) -> None:
    response = answer(data, shape)
    response.outputs[0].datatype = datatype  # type: ignore[assignment]
    with pytest.raises(ModelError, match=message) as caught:
        from_public(response, model="m", version=None)
    assert caught.value.kind is Kind.MODEL


def test_something_else_is_the_models_mistake() -> None:
    with pytest.raises(ModelError, match="predict of model 'm' returned dict, expected InferenceResponse"):
        from_public({}, model="m", version=None)  # type: ignore[arg-type]


def test_request_from_public() -> None:
    public = InferenceRequest.model_validate(
        {
            "id": "1",
            "parameters": {"a": 1, "headers": {"h": "1"}},
            "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}],
            "outputs": [{"name": "y", "parameters": {"b": 1}}],
        }
    )
    found = request_from_public(public, "m", "v")
    assert (found.model, found.version, found.id, found.parameters) == ("m", "v", "1", {"a": 1})
    assert found.headers is not None
    assert found.headers() == {"h": "1"}
    assert found.outputs is not None
    assert found.outputs[0].parameters == {"b": 1}
    np.testing.assert_array_equal(found.inputs[0].data, np.array([[1, 2]], "f4"))
    assert to_public(found) == public


def test_a_misfit_in_a_request_is_the_callers_mistake() -> None:
    public = InferenceRequest(inputs=[RequestInput(name="x", shape=[3], datatype="FP32", data=TensorData([1]))])
    with pytest.raises(CodecError, match=r"input 'x': expected data of shape \[3\]"):
        request_from_public(public, "m", None)


def test_response_to_public() -> None:
    tensor = floats()
    public = response_to_public(TensorResponse("m", "v", [tensor], "1", {"a": 1}, {"h": "1"}))
    assert public == InferenceResponse(
        model_name="m",
        model_version="v",
        id="1",
        parameters=Parameters(a=1, headers={"h": "1"}),
        outputs=[ResponseOutput(name="x", shape=[1, 2], datatype="FP32", data=tensor.data)],
    )
    assert public.outputs[0].data.array is tensor.data
    assert response_to_public(TensorResponse("m", None, [])).parameters is None
