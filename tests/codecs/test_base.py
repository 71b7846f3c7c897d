import logging
from datetime import datetime
from typing import Any, List, Union  # noqa: UP035 - the old spelling has to work too

import numpy as np
import pytest

from mlserver import codecs
from mlserver.codecs import (
    Base64Codec,
    DatetimeCodec,
    InputCodec,
    NumpyCodec,
    NumpyRequestCodec,
    RequestCodec,
    StringCodec,
    StringRequestCodec,
    base,
)
from mlserver.codecs.lists import as_list, is_list_of
from mlserver.types import TensorData


class Loud(InputCodec):
    ContentType = "loud"
    TypeHint = bytes

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return isinstance(payload, bytes | list)


class Quiet(Loud):
    """Another codec for the same content type."""


@pytest.fixture
def loud(monkeypatch: pytest.MonkeyPatch) -> type[InputCodec]:
    monkeypatch.setattr(base._inputs, "_codecs", dict(base._inputs._codecs))
    return base.register_input_codec(Loud)


def test_public_names() -> None:
    assert all(hasattr(codecs, name) for name in codecs.__all__)
    assert set(codecs.__all__) >= {"CodecError", "InputCodecLike", "RequestCodecLike", "DecodedParameterName"}
    assert codecs.DecodedParameterName == "_decoded_payload"


def test_found_by_content_type(loud: type[InputCodec]) -> None:
    assert base.find_input_codec("np") is NumpyCodec
    assert base.find_input_codec("str") is StringCodec
    assert base.find_input_codec("loud") is loud
    assert base.find_input_codec("unknown") is None
    assert base.find_request_codec("np") is NumpyRequestCodec
    assert base.find_request_codec("str") is StringRequestCodec
    assert base.find_request_codec("loud") is None


def test_found_by_type_hint() -> None:
    assert base.find_input_codec_by_type_hint(np.ndarray) is NumpyCodec
    assert base.find_input_codec_by_type_hint(list[str]) is StringCodec
    assert base.find_input_codec_by_type_hint(List[str]) is StringCodec  # noqa: UP006
    assert base.find_input_codec_by_type_hint(list[int]) is None
    assert base.find_request_codec_by_type_hint(np.ndarray) is NumpyRequestCodec


def test_found_by_payload() -> None:
    assert base.find_input_codec_by_payload(np.zeros(1)) is NumpyCodec
    assert base.find_input_codec_by_payload([]) is StringCodec
    assert base.find_input_codec_by_payload(5) is None
    assert base.find_request_codec_by_payload(["a"]) is StringRequestCodec


def test_several_codecs_for_a_payload_are_worth_a_warning(
    loud: type[InputCodec], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "mlserver"):
        assert base.find_input_codec_by_payload(["a"]) is StringCodec
    assert "fits the codecs 'str', 'loud'; taking 'str'" in caplog.text


def test_the_last_registration_wins(loud: type[InputCodec]) -> None:
    base.register_input_codec(Quiet)
    assert base.find_input_codec("loud") is Quiet


def test_an_instance_can_be_registered(loud: type[InputCodec]) -> None:
    instance = Quiet()
    assert base.register_input_codec(instance) is instance
    assert base.find_input_codec("loud") is instance


@pytest.mark.parametrize("method", ["encode_output", "encode_input"])
def test_what_a_codec_leaves_out_is_not_implemented(method: str) -> None:
    with pytest.raises(NotImplementedError, match=f"Loud.{method}"):
        getattr(Loud, method)("x", b"")
    assert not InputCodec.can_encode(b"")
    assert not RequestCodec.can_encode(b"")


def test_old_names_warn() -> None:
    with pytest.warns(DeprecationWarning, match="DEPRECATED: NumpyCodec.encode"):
        output = NumpyCodec.encode("y", np.zeros(2))
    assert output.shape == [2, 1]
    with pytest.warns(DeprecationWarning, match="DEPRECATED: NumpyCodec.decode"):
        NumpyCodec.decode(NumpyCodec.encode_input("x", np.zeros(2)))
    with pytest.warns(DeprecationWarning, match="DEPRECATED: NumpyRequestCodec.encode"):
        assert NumpyRequestCodec.encode("m", np.zeros(2), "v").model_version == "v"
    with pytest.warns(DeprecationWarning, match="DEPRECATED: NumpyRequestCodec.decode"):
        NumpyRequestCodec.decode(NumpyRequestCodec.encode_request(np.zeros(2)))


@pytest.mark.parametrize(
    ("payload", "expected"),
    [([1], [1]), ((1, 2), [1, 2]), ("a", ["a"]), (b"a", [b"a"]), (5, [5]), (TensorData([1]), [1])],
)
def test_as_list(payload: Any, expected: list[Any]) -> None:
    assert as_list(payload) == expected


def test_is_list_of() -> None:
    assert is_list_of(["a"], str)
    assert is_list_of([], str)
    assert is_list_of(TensorData(["a"]), str)
    assert is_list_of(["a", b"b"], (str, bytes))
    assert not is_list_of(["a", 1], str)
    assert not is_list_of("a", str)


def test_the_order_of_registration() -> None:
    inputs = ["np", "str", "base64", "datetime"]
    assert [name for name in base._inputs._codecs if name in inputs] == inputs
    requests = ["np", "str", "pd"]
    assert [name for name in base._requests._codecs if name in requests] == requests


def test_an_empty_list_is_text_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mlserver"):
        assert base.find_input_codec_by_payload([]) is StringCodec
        assert base.find_request_codec_by_payload([]) is StringRequestCodec
    assert caplog.text == ""


def test_unions_are_one_whatever_they_are_spelt() -> None:
    for hint in (list[str | datetime], list[datetime | str], List[Union[str, datetime]]):  # noqa: UP006, UP007
        assert base.find_input_codec_by_type_hint(hint) is DatetimeCodec
    assert base.find_input_codec_by_type_hint(list[bytes]) is Base64Codec
