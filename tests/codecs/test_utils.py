from typing import Any

import numpy as np
import pytest

from mlserver.codecs import (
    CodecError,
    NumpyRequestCodec,
    StringRequestCodec,
    decode_inference_request,
    decode_request_input,
    encode_inference_response,
    encode_response_output,
    get_decoded,
    get_decoded_or_raw,
    has_decoded,
)
from mlserver.codecs.utils import inject_batch_dimension
from mlserver.model import MLModel
from mlserver.settings import ModelParameters, ModelSettings
from mlserver.types import InferenceRequest, MetadataTensor, Parameters, RequestInput, RequestOutput
from mlserver.types.convert import to_public
from mlserver.types.parameters import seen
from mlserver.types.tensors import Tensor, TensorRequest


def tensor(content_type: str | None = None, name: str = "x") -> RequestInput:
    parameters = Parameters(content_type=content_type) if content_type else None
    return RequestInput(name=name, shape=[2], datatype="BYTES", data=["a", "b"], parameters=parameters)


def request(*inputs: RequestInput, content_type: str | None = None) -> InferenceRequest:
    parameters = Parameters(content_type=content_type) if content_type else None
    return InferenceRequest(inputs=list(inputs), parameters=parameters)


def described(content_type: str, name: str = "x") -> dict[str, MetadataTensor]:
    parameters = Parameters(content_type=content_type)
    return {name: MetadataTensor(name=name, datatype="BYTES", shape=[-1], parameters=parameters)}


def settings(content_type: str | None = None) -> ModelSettings:
    return ModelSettings(name="m", implementation=MLModel, parameters=ModelParameters(content_type=content_type))


@pytest.mark.parametrize(
    ("own", "metadata", "kind"),
    [
        (None, {}, type(None)),
        ("str", {}, list),
        ("np", described("str"), np.ndarray),
        (None, described("str"), list),
        (None, described("str", "other"), type(None)),
        ("unknown", described("str"), type(None)),
    ],
)
def test_whose_content_type_an_input_is_decoded_by(
    own: str | None, metadata: dict[str, MetadataTensor], kind: type[Any]
) -> None:
    value = tensor(own)
    assert type(decode_request_input(value, metadata)) is kind
    assert has_decoded(value) == (kind is not type(None))
    assert type(get_decoded(value)) is kind


@pytest.mark.parametrize(
    ("own", "configured", "kind"),
    [
        (None, None, type(None)),
        ("np", None, np.ndarray),
        (None, "str", list),
        ("np", "str", np.ndarray),
        ("unknown", "str", type(None)),
    ],
)
def test_whose_content_type_a_request_is_decoded_by(own: str | None, configured: str | None, kind: type[Any]) -> None:
    value = request(tensor(), content_type=own)
    assert type(decode_inference_request(value, settings(configured))) is kind
    assert has_decoded(value) == (kind is not type(None))


def test_an_inputs_own_type_wins_over_the_requests() -> None:
    value = request(tensor("str"), content_type="np")
    assert decode_inference_request(value) == ["a", "b"]


def test_inputs_are_decoded_even_where_the_request_is_not() -> None:
    value = request(tensor("str"), tensor())
    assert decode_inference_request(value) is None
    assert [has_decoded(each) for each in value.inputs] == [True, False]


def test_decoded_or_raw() -> None:
    plain, decoded = tensor(), tensor("str")
    assert get_decoded_or_raw(plain) is plain.data
    decode_request_input(decoded)
    assert get_decoded_or_raw(decoded) == ["a", "b"]
    whole = request(plain)
    assert get_decoded_or_raw(whole) is whole


def test_decoding_leaves_no_trace_outside() -> None:
    value, same = request(tensor("str"), content_type="np"), request(tensor("str"), content_type="np")
    decode_inference_request(value)
    assert value == same
    assert value.model_dump() == same.model_dump()


def test_inputs_may_share_their_parameters() -> None:
    shared = Parameters(content_type="str")
    inputs = [
        RequestInput(name=text, shape=[1], datatype="BYTES", data=[text], parameters=shared) for text in ("a", "b")
    ]
    decode_inference_request(InferenceRequest(inputs=inputs))
    assert [get_decoded(each) for each in inputs] == [["a"], ["b"]]
    assert not hasattr(shared, "_decoded_payload")


def test_decoding_does_not_look_at_headers() -> None:
    inputs = [Tensor("x", "BYTES", [1], ["a"])]
    public = to_public(TensorRequest("m", None, inputs, parameters={"content_type": "str"}, headers=dict))
    assert decode_inference_request(public) == ["a"]
    assert public.parameters is not None
    assert not seen(public.parameters)


def test_parameters_assigned_as_a_dict() -> None:
    value = tensor()
    value.parameters = {"content_type": "str", "more": 1}  # type: ignore[assignment]
    assert decode_request_input(value) == ["a", "b"]
    assert value.model_dump()["parameters"] == {"content_type": "str", "more": 1}


@pytest.mark.parametrize(
    ("payload", "asked", "metadata", "found"),
    [
        (["a"], None, {}, "str"),
        (np.zeros(1), None, {}, "np"),
        (np.array(["a"]), "str", described("np"), "str"),
        (np.array(["a"]), None, described("str"), "str"),
        (np.zeros(1), "unknown", {}, "np"),
        (5, None, {}, None),
    ],
)
def test_whose_content_type_an_output_is_encoded_by(
    payload: Any, asked: str | None, metadata: dict[str, MetadataTensor], found: str | None
) -> None:
    parameters = Parameters(content_type=asked) if asked else None
    output = encode_response_output(payload, RequestOutput(name="x", parameters=parameters), metadata)
    if found is None:
        assert output is None
    else:
        assert output is not None
        assert output.parameters == Parameters(content_type=found)


def test_responses_are_encoded_by_the_payload() -> None:
    response = encode_inference_response(np.zeros(2), settings())
    assert response is not None
    assert (response.model_name, response.model_version) == ("m", None)
    assert response.outputs[0].name == "output-1"
    assert encode_inference_response(5, settings()) is None


def test_single_tensor_requests_and_responses() -> None:
    encoded = NumpyRequestCodec.encode_request(np.zeros(2))
    assert encoded.inputs[0].name == "input-1"
    assert encoded.parameters == Parameters(content_type="np")
    response = StringRequestCodec.encode_response("m", ["a"], "v")
    assert response.model_dump() == {
        "model_name": "m",
        "model_version": "v",
        "parameters": {"content_type": "str"},
        "outputs": [
            {
                "name": "output-1",
                "shape": [1, 1],
                "datatype": "BYTES",
                "parameters": {"content_type": "str"},
                "data": [b"a"],
            }
        ],
    }


@pytest.mark.parametrize("names", [[], ["a", "b"]])
def test_not_exactly_one_tensor(names: list[str]) -> None:
    with pytest.raises(CodecError, match=f"expected a request of exactly one input, found {len(names)}"):
        NumpyRequestCodec.decode_request(request(*(tensor(name=name) for name in names)))


@pytest.mark.parametrize(("shape", "expected"), [([], [1]), ([3], [3, 1]), ([3, 2], [3, 2])])
def test_inject_batch_dimension(shape: list[int], expected: list[int]) -> None:
    assert inject_batch_dimension(shape) == expected
