import copy
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from mlserver import types
from mlserver.types import (
    Datatype,
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    Parameters,
    RepositoryIndexResponse,
    RepositoryIndexResponseItem,
    RequestInput,
    ResponseOutput,
    State,
)
from mlserver.types.parameters import lazy_parameters, seen

BODY: dict[str, Any] = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [[1, 0.1]]}]}


def test_public_names() -> None:
    assert set(types.__all__) == {
        *("Datatype", "State", "Parameters", "TensorData", "MetadataTensor"),
        *("MetadataServerResponse", "MetadataServerErrorResponse"),
        *("MetadataModelResponse", "MetadataModelErrorResponse"),
        *("RequestInput", "RequestOutput", "ResponseOutput"),
        *("InferenceRequest", "InferenceResponse", "InferenceErrorResponse"),
        *("RepositoryIndexRequest", "RepositoryIndexResponse", "RepositoryIndexResponseItem"),
        *("RepositoryLoadErrorResponse", "RepositoryUnloadErrorResponse"),
    }
    assert all(getattr(types, name).__doc__ for name in types.__all__)


def test_dumps_leave_out_what_is_unset_or_none() -> None:
    request = InferenceRequest(**BODY, id=None)
    assert request.model_dump() == BODY
    assert InferenceRequest.model_validate_json(request.model_dump_json()) == request
    assert set(request.model_dump(exclude_unset=False, exclude_none=False)) == {"id", "parameters", "inputs", "outputs"}


def test_deprecated_dumps_leave_out_nothing() -> None:
    request = InferenceRequest(**BODY)
    with pytest.warns(DeprecationWarning, match="model_dump"):
        assert request.dict()["outputs"] is None
    with pytest.warns(DeprecationWarning, match="model_dump_json"):
        assert '"outputs":null' in request.json()


def test_fields_come_in_the_order_of_the_protocol() -> None:
    output = ResponseOutput(name="y", shape=(1,), datatype="INT64", data=[8])
    response = InferenceResponse(model_name="m", model_version="v", id="1", outputs=[output])
    text = response.model_dump_json(exclude_unset=False, exclude_none=False)
    assert text == (
        '{"model_name":"m","model_version":"v","id":"1","parameters":null,"outputs":'
        '[{"name":"y","shape":[1],"datatype":"INT64","parameters":null,"data":[8]}]}'
    )


def test_nan_is_null_in_json() -> None:
    output = ResponseOutput(name="y", shape=[2], datatype=Datatype.FP32, data=np.array([np.nan, 1]))
    assert '"data":[null,1.0]' in output.model_dump_json()


def test_enums_are_stored_as_plain_strings() -> None:
    tensor = MetadataTensor(name="x", datatype=Datatype.FP32, shape=[-1])
    assert type(tensor.datatype) is str
    item = RepositoryIndexResponseItem(name="m", state=State.READY, reason="")
    assert type(item.state) is str


def test_assignment_is_not_validated() -> None:
    tensor = MetadataTensor(name="x", datatype=Datatype.FP32, shape=[-1])
    tensor.shape = "anything"  # type: ignore[assignment]
    assert str(tensor.shape) == "anything"


@pytest.mark.parametrize(
    "wrong", [{}, {"inputs": [{"name": "x"}]}, {"inputs": [BODY["inputs"][0] | {"datatype": "FP8"}]}]
)
def test_construction_is_validated(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        InferenceRequest(**wrong)


def test_unknown_fields_are_ignored_but_in_parameters() -> None:
    request = InferenceRequest(**BODY, more=1, parameters={"more": {"a": [1]}, "content_type": "np"})
    assert not hasattr(request, "more")
    assert request.parameters is not None
    assert request.parameters.more == {"a": [1]}  # type: ignore[attr-defined]
    assert request.model_dump()["parameters"] == {"content_type": "np", "more": {"a": [1]}}
    assert Parameters(a=1) == Parameters(a=1)
    assert Parameters(a=1) != Parameters(a=2)
    assert Parameters(a=1) != {"a": 1}
    assert dict(Parameters(a=1)) == {"content_type": None, "headers": None, "a": 1}


def test_repository_index_is_like_a_list() -> None:
    item = RepositoryIndexResponseItem(name="m", state=State.READY, reason="")
    index = RepositoryIndexResponse([item])
    assert list(index) == [item]
    assert index[0] is item
    assert len(index) == 1


def test_equality_knows_nan() -> None:
    def tensor() -> RequestInput:
        return RequestInput(name="x", shape=[1], datatype="FP32", data=[float("nan")])

    assert tensor() == tensor()


class Door:
    """Headers as a door has them: counts how often they were made."""

    def __init__(self) -> None:
        self.made = 0

    def headers(self) -> Mapping[str, str]:
        self.made += 1
        return {"x-one": "1"}

    def parameters(self, **values: Any) -> Parameters:
        parameters = lazy_parameters(values, self.headers)
        assert parameters is not None
        return parameters


def test_headers_are_made_at_the_first_look() -> None:
    door = Door()
    parameters = door.parameters(content_type="np", tenant="a", headers={"sent": "in the body"})
    assert parameters.content_type == "np"
    assert parameters.tenant == "a"  # type: ignore[attr-defined]
    assert (door.made, seen(parameters)) == (0, False)
    assert parameters.headers == parameters.headers == {"x-one": "1"}
    assert (door.made, seen(parameters)) == (1, True)


WHOLE = {"content_type": "np", "headers": {"x-one": "1"}}


class Envelope(BaseModel):
    parameters: Parameters


@pytest.mark.parametrize(
    "look",
    [
        lambda parameters: parameters.model_dump(),
        lambda parameters: Parameters.model_validate_json(parameters.model_dump_json()).model_dump(),
        lambda parameters: Envelope(parameters=parameters).model_dump()["parameters"],
        dict,
        lambda parameters: parameters.model_copy().model_dump(),
        lambda parameters: copy.deepcopy(parameters).model_dump(),
        lambda parameters: pickle.loads(pickle.dumps(parameters)).model_dump(),
    ],
)
def test_unseen_headers_are_not_missed(look: Any) -> None:
    assert look(Door().parameters(content_type="np")) == WHOLE


def test_unseen_headers_compare_and_print() -> None:
    assert Door().parameters() == Door().parameters()
    assert Door().parameters() == Parameters(headers={"x-one": "1"})
    assert Door().parameters() != Parameters()
    assert "x-one" in repr(Door().parameters())


def test_headers_can_be_replaced_unseen() -> None:
    door = Door()
    parameters = door.parameters()
    parameters.headers = {"a": "b"}
    assert parameters.model_dump() == {"headers": {"a": "b"}}
    assert door.made == 0


def test_nothing_to_hold_is_none() -> None:
    assert lazy_parameters(None) is None
    assert lazy_parameters({}) is None


def test_a_decoded_payload_is_neither_compared_nor_serialised() -> None:
    parameters = Parameters(content_type="np")
    parameters._decoded_payload = np.zeros(3)  # type: ignore[attr-defined]
    assert parameters == Parameters(content_type="np")
    assert parameters.model_dump() == {"content_type": "np"}
    assert not hasattr(pickle.loads(pickle.dumps(parameters)), "_decoded_payload")


def test_parameters_assigned_as_a_dict_are_dumped() -> None:
    request = InferenceRequest(**BODY)
    request.parameters = {"a": 1}  # type: ignore[assignment]
    assert request.model_dump(warnings=False)["parameters"] == {"a": 1}
