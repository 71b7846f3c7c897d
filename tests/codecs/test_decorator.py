import datetime as dt
import inspect
from typing import Annotated, Any, List, Optional, Tuple, Union  # noqa: UP035 - the old spellings have to work too

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import TypeAliasType, TypeVar

from mlserver.codecs import (
    Base64Codec,
    CodecError,
    CodecNotFound,
    DatetimeCodec,
    InputsNotFound,
    NumpyCodec,
    OutputNotFound,
    StringCodec,
    decode_args,
)
from mlserver.engine.hosted import HostedModel
from mlserver.errors import Kind, ModelError
from mlserver.model import MLModel
from mlserver.settings import ModelParameters, ModelSettings
from mlserver.types import InferenceRequest, InferenceResponse, Parameters, RequestInput
from mlserver.types.convert import request_from_public

T = TypeVar("T")
NUMBERS = np.array([[1.0, 2.0], [3.0, 4.0]])
DAY = dt.datetime(2024, 2, 29)


class Model(MLModel):
    """Any function as a `predict`."""

    def __init__(self) -> None:
        parameters = ModelParameters(version="v1")
        super().__init__(ModelSettings(name="m", implementation=MLModel, parameters=parameters))


def request(*inputs: RequestInput) -> InferenceRequest:
    return InferenceRequest(id="1", inputs=list(inputs))


def numbers(name: str = "x", array: Any = NUMBERS) -> RequestInput:
    return NumpyCodec.encode_input(name, array)


def texts(name: str, *values: str) -> RequestInput:
    return StringCodec.encode_input(name, list(values))


def call(predict: Any, *inputs: RequestInput) -> Any:
    """What `predict` got, which it returns as it is through a response's parameters."""
    got: dict[str, Any] = {}

    def remembering(self: Any, **arguments: Any) -> InferenceResponse:
        got.update(arguments)
        return InferenceResponse(model_name="m", outputs=[])

    remembering.__signature__ = inspect.signature(predict)  # type: ignore[attr-defined]
    remembering.__annotations__ = {**predict.__annotations__, "return": InferenceResponse}
    decode_args(remembering)(Model(), request(*inputs))
    return got


def test_an_argument_per_input() -> None:
    def predict(
        self: Any, x: npt.NDArray[np.float64], names: list[str], raw: list[bytes], day: list[str | dt.datetime]
    ) -> None: ...

    got = call(
        predict,
        texts("names", "a", "b"),
        numbers(),
        Base64Codec.encode_input("raw", [b"\xff"]),
        DatetimeCodec.encode_input("day", [DAY]),
    )
    np.testing.assert_array_equal(got.pop("x"), NUMBERS)
    assert got == {"names": ["a", "b"], "raw": [b"\xff"], "day": [DAY]}


@pytest.mark.parametrize(
    "hint",
    [
        list[str],
        List[str],  # noqa: UP006
        list[str] | None,
        Optional[List[str]],  # noqa: UP006, UP045
        TypeAliasType("Names", list[str] | None),
        TypeAliasType("Several", list[T], type_params=(T,))[str],  # type: ignore[arg-type]
        Annotated[list[str], "names"],
        Annotated[list[str] | None, "names"],
        Annotated[list[str], "names"] | None,
        "list[str]",
        "Optional[list[str]]",
    ],
    ids=str,
)
def test_spellings_of_a_hint(hint: Any) -> None:
    def predict(self: Any, names: Any) -> None: ...

    predict.__annotations__["names"] = hint
    assert call(predict, texts("names", "a")) == {"names": ["a"]}


@pytest.mark.parametrize("hint", [Union[List[Union[dt.datetime, str]], None], list[str | dt.datetime]])  # noqa: UP006, UP007
def test_spellings_of_a_union(hint: Any) -> None:
    def predict(self: Any, day: Any) -> None: ...

    predict.__annotations__["day"] = hint
    assert call(predict, texts("day", DAY.isoformat())) == {"day": [DAY]}


def test_content_types_on_the_wire_play_no_part() -> None:
    tensor = texts("names", "a")
    tensor.parameters = Parameters(content_type="base64")

    def predict(self: Any, names: list[str]) -> None: ...

    assert call(predict, tensor) == {"names": ["a"]}


def test_what_may_be_absent() -> None:
    def predict(self: Any, names: list[str] | None, more: list[str] = ["default"], other=5) -> None: ...  # type: ignore[no-untyped-def]  # noqa: B006

    assert call(predict) == {"names": None}
    assert call(predict, texts("more", "a")) == {"names": None, "more": ["a"]}


def test_a_frame_takes_what_is_left() -> None:
    def predict(self: Any, names: list[str], rest: pd.DataFrame) -> None: ...

    got = call(predict, numbers("a", np.array([1, 2])), texts("names", "x", "y"), texts("b", "x", "y"))
    assert got["names"] == ["x", "y"]
    assert got["rest"].to_dict("list") == {"a": [1, 2], "b": ["x", "y"]}


def test_the_request_itself() -> None:
    def predict(self: Any, payload: InferenceRequest, x: np.ndarray) -> None: ...

    got = call(predict, numbers())
    assert got["payload"].id == "1"


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "expected the inputs 'x', 'names'; missing: 'x', 'names'"),
        ([numbers()], "expected the inputs 'x', 'names'; missing: 'names'"),
        ([numbers(), texts("names", "a"), numbers("y")], "expected the inputs 'x', 'names'; unknown: 'y'"),
        ([numbers("X"), texts("names", "a")], "missing: 'x'; unknown: 'X'"),
        ([numbers(), numbers("names", np.array([1j.real]))], None),
    ],
)
def test_other_inputs(inputs: list[RequestInput], message: str | None) -> None:
    def predict(self: Any, x: np.ndarray, names: list[str]) -> None: ...

    if message is None:
        assert call(predict, *inputs)["names"] == [""]
        return
    with pytest.raises(InputsNotFound, match=message) as caught:
        call(predict, *inputs)
    assert caught.value.kind is Kind.INVALID


def test_nothing_left_for_a_frame() -> None:
    def predict(self: Any, rest: pd.DataFrame) -> None: ...

    with pytest.raises(InputsNotFound, match="missing: 'rest'"):
        call(predict)


def test_the_message_stays_short() -> None:
    def predict(self: Any, x: np.ndarray) -> None: ...

    with pytest.raises(InputsNotFound, match="and 80 more") as caught:
        call(predict, *(numbers(f"{number}" * 100) for number in range(100)))
    assert len(str(caught.value)) < 2000


def test_data_that_do_not_fit_name_their_input() -> None:
    def predict(self: Any, x: np.ndarray) -> None: ...

    with pytest.raises(CodecError, match=r"input 'x': expected data of shape \[3\], found 2 elements"):
        call(predict, RequestInput(name="x", shape=[3], datatype="FP32", data=[1, 2]))


def answer(hint: Any, value: Any) -> InferenceResponse:
    """The response of a `predict` annotated with `hint` that returns `value`."""

    def predict(self: Any) -> Any:
        return value

    predict.__annotations__["return"] = hint
    response: InferenceResponse = decode_args(predict)(Model(), request())
    return response


FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (np.ndarray, NUMBERS, [("output-0", "FP64", [2, 2])]),
        (np.ndarray | None, None, []),
        (list[str], ["a", "b"], [("output-0", "BYTES", [2, 1])]),
        (list[bytes], [b"a"], [("output-0", "BYTES", [1, 1])]),
        (tuple[np.ndarray, list[str]], (NUMBERS, ["a"]), [("output-0", "FP64", [2, 2]), ("output-1", "BYTES", [1, 1])]),
        (Tuple[np.ndarray, list[str] | None], (NUMBERS, None), [("output-0", "FP64", [2, 2])]),  # noqa: UP006
        (tuple[np.ndarray, ...], (NUMBERS, NUMBERS), [("output-0", "FP64", [2, 2]), ("output-1", "FP64", [2, 2])]),
        (Annotated[np.ndarray, "score"], NUMBERS, [("output-0", "FP64", [2, 2])]),
        (pd.DataFrame, FRAME, [("a", "INT64", [2, 1]), ("b", "BYTES", [2, 1])]),
        (Any, (FRAME, NUMBERS), [("a", "INT64", [2, 1]), ("b", "BYTES", [2, 1]), ("output-1", "FP64", [2, 2])]),
        (tuple, (["a"],), [("output-0", "BYTES", [1, 1])]),
    ],
    ids=str,
)
def test_what_is_returned(hint: Any, value: Any, expected: list[Any]) -> None:
    response = answer(hint, value)
    assert (response.model_name, response.model_version, response.parameters) == ("m", "v1", None)
    assert [(output.name, output.datatype, output.shape) for output in response.outputs] == expected


def test_a_response_stays_one() -> None:
    response = InferenceResponse(model_name="own", outputs=[])
    assert answer(np.ndarray, response) is response
    assert answer(InferenceResponse, response) is response


@pytest.mark.parametrize(
    ("hint", "value", "expected", "found"),
    [
        (np.ndarray, (NUMBERS, NUMBERS), 1, 2),
        (tuple[np.ndarray, np.ndarray], NUMBERS, 2, 1),
        (tuple[np.ndarray], (), 1, 0),
    ],
)
def test_another_number_of_values_is_the_models_mistake(hint: Any, value: Any, expected: int, found: int) -> None:
    with pytest.raises(OutputNotFound, match=rf"return {expected} value.* found {found}") as caught:
        answer(hint, value)
    assert caught.value.kind is Kind.MODEL


def test_a_value_that_no_codec_encodes() -> None:
    with pytest.raises(CodecNotFound, match=r"no codec can encode builtins\.int as output 'output-0'"):
        answer(Any, 5)


@pytest.mark.parametrize("hint", [int, list[int], dict[str, str], np.ndarray | list[str]])
def test_hints_that_no_codec_has_fail_where_they_stand(hint: Any) -> None:
    def predict(self: Any, x: Any) -> Any: ...

    predict.__annotations__["x"] = hint
    with pytest.raises(CodecNotFound, match=r"no codec has the type hint .* of 'x'"):
        decode_args(predict)
    with pytest.raises(CodecNotFound, match=r"no codec has the type hint .* of 'return'"):
        answer(hint, None)


def test_arguments_that_nothing_could_fill() -> None:
    def bare(self, x): ...  # type: ignore[no-untyped-def]

    with pytest.raises(CodecError, match="argument 'x' has neither an annotation nor a default"):
        decode_args(bare)

    def unknown(self: Any, x: "Nowhere") -> Any: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(CodecError, match=r"the annotations of .*unknown cannot be resolved: .*'Nowhere'"):
        decode_args(unknown)


class Sync(MLModel):
    @decode_args
    def predict(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Adds."""
        total: np.ndarray = left + right
        return total


class Async(MLModel):
    @decode_args
    async def predict(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Adds."""
        total: np.ndarray = left + right
        return total


@pytest.mark.parametrize("kind", [Sync, Async])
async def test_in_the_server(kind: type[MLModel]) -> None:
    runner = await HostedModel.load(ModelSettings(name="m", implementation=kind))
    sent = request_from_public(request(numbers("left"), numbers("right")), "m", None)
    (output,) = (await runner.infer(sent)).outputs
    np.testing.assert_array_equal(output.data, NUMBERS * 2)
    assert inspect.iscoroutinefunction(kind.predict) == (kind is Async)
    assert kind.predict.__doc__ == "Adds."
    with pytest.raises(InputsNotFound):
        await runner.infer(request_from_public(request(numbers("left")), "m", None))
    wrong = request_from_public(request(numbers("left"), numbers("right", np.zeros((2, 3)))), "m", None)
    with pytest.raises(ModelError, match="ValueError: operands could not be broadcast"):
        await runner.infer(wrong)


VALUES = st.fixed_dictionaries(
    {
        "a": st.lists(st.text(st.characters(codec="utf-8"), max_size=5)),
        "b": st.lists(st.binary(max_size=5)),
        "c": st.lists(st.datetimes()),
    }
)


@settings(deadline=None)
@given(VALUES)
def test_values_come_back(values: dict[str, Any]) -> None:
    @decode_args
    def predict(
        self: Any, a: list[str], b: list[bytes], c: list[str | dt.datetime]
    ) -> tuple[list[str], list[bytes], list[str | dt.datetime]]:
        return a, b, c

    inputs = [
        StringCodec.encode_input("a", values["a"]),
        Base64Codec.encode_input("b", values["b"]),
        DatetimeCodec.encode_input("c", values["c"]),
    ]
    response = predict(Model(), request(*inputs))
    codecs: list[Any] = [StringCodec, Base64Codec, DatetimeCodec]
    found = [codec.decode_output(output) for codec, output in zip(codecs, response.outputs, strict=True)]
    assert found == [values["a"], values["b"], values["c"]]
