"""A bad member of a stack gets its error, and its mates the answers they would have had alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserver.engine.isolate import infer_members
from mlserver.errors import InferenceError, MLServerError, ModelError, ModelNotReady
from mlserver.types.tensors import Array, Tensor, TensorRequest, TensorResponse

BAD = -1.0


def stack(values: list[float]) -> TensorRequest:
    return TensorRequest("m", None, [Tensor("x", "FP64", [len(values), 1], np.array(values).reshape(-1, 1))])


def array(request: TensorRequest) -> Array:
    data = request.inputs[0].data
    assert isinstance(data, np.ndarray)
    return data


class Doubling:
    """Doubles each row, in place, and refuses stacks that hold a bad one - after having written into them."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, request: TensorRequest) -> TensorResponse:
        self.calls += 1
        data = array(request)
        bad = (data == BAD).any()
        data *= 2
        if bad:
            raise ModelError("bad row")
        return TensorResponse("m", None, [Tensor("y", "FP64", list(data.shape), data)])


@given(
    members=st.lists(st.lists(st.sampled_from([1.0, 2.0, 3.0, BAD]), min_size=1, max_size=3), min_size=1, max_size=12)
)
async def test_each_member_gets_what_it_would_have_got_alone(members: list[list[float]]) -> None:
    outcomes = await infer_members(
        Doubling(), stack([value for member in members for value in member]), [len(member) for member in members]
    )
    assert sum(outcome.members for outcome in outcomes) == len(members)
    left = list(members)
    for outcome in outcomes:
        mine, left = left[: outcome.members], left[outcome.members :]
        if outcome.error is not None:
            assert outcome.members == 1
            assert BAD in mine[0]
            assert str(outcome.error) == "bad row"
        else:
            assert outcome.response is not None
            flat = [2 * value for member in mine for value in member]
            assert np.asarray(outcome.response.outputs[0].data).ravel().tolist() == flat


async def test_one_bad_member_in_64_costs_few_calls_more() -> None:
    model = Doubling()
    values = [1.0] * 64
    values[37] = BAD
    outcomes = await infer_members(model, stack(values), [1] * 64)
    assert [outcome.members for outcome in outcomes if outcome.error] == [1]
    # The whole, then two halves at each of the six levels that lead down to one.
    assert model.calls == 1 + 2 * 6


async def test_good_stacks_are_one_call() -> None:
    model = Doubling()
    (outcome,) = await infer_members(model, stack([1.0] * 9), [3, 3, 3])
    assert (outcome.members, outcome.error, model.calls) == (3, None, 1)


@pytest.mark.parametrize("error", [ModelNotReady("m"), InferenceError("no")])
async def test_what_is_the_same_for_all_is_not_tried_again(error: MLServerError) -> None:
    calls = 0

    async def infer(request: TensorRequest) -> TensorResponse:
        nonlocal calls
        calls += 1
        raise error

    outcomes = await infer_members(infer, stack([1.0] * 4), [1] * 4)
    if isinstance(error, ModelNotReady):
        assert ([outcome.members for outcome in outcomes], calls) == ([4], 1)
    else:
        assert ([outcome.members for outcome in outcomes], calls) == ([1, 1, 1, 1], 7)


async def test_a_model_that_is_not_row_wise_after_all_is_asked_for_each_alone() -> None:
    async def mean(request: TensorRequest) -> TensorResponse:
        return TensorResponse("m", None, [Tensor("y", "FP64", [1], array(request).mean(axis=0))])

    outcomes = await infer_members(mean, stack([1.0, 2.0, 3.0]), [1, 1, 1])
    found = [outcome.response.outputs[0].data for outcome in outcomes if outcome.response]
    assert np.concatenate(found).tolist() == [1, 2, 3]
