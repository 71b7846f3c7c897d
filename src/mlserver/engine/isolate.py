"""Predicting many members' rows at once so that a bad member harms nobody else.

A stack that fails is halved until what fails is one member alone: it gets its error, its mates their answers. With
k bad ones among n that costs about k log n more calls, and each call starts from the rows as they were received.
"""

from collections.abc import Awaitable, Callable, Sequence

from mlserver.engine.rows import has_rows, rows_of
from mlserver.errors import Kind, MLServerError
from mlserver.types.tensors import Tensor, TensorRequest, TensorResponse

Infer = Callable[[TensorRequest], Awaitable[TensorResponse]]

# Failures of the request's content or of the model's code, which one member can bring upon the others. The rest -
# no such model, not ready - would be the same for each of them.
_ISOLATED = frozenset({Kind.INVALID, Kind.MODEL, Kind.NOT_IMPLEMENTED, Kind.TOO_LARGE})


class Outcome:
    """What became of `members` neighbours of a stack: one response for the rows of all of them, or one error."""

    __slots__ = ("error", "members", "response")

    def __init__(self, members: int, response: TensorResponse | None, error: MLServerError | None = None) -> None:
        self.members = members
        self.response = response
        self.error = error

    def __repr__(self) -> str:
        return f"Outcome({self.members}, {self.error or self.response})"


async def infer_members(infer: Infer, request: TensorRequest, rows: Sequence[int]) -> list[Outcome]:
    """Predict `request`, whose leading dimension holds `rows[i]` rows of member i; outcomes are in members' order."""
    if len(rows) == 1:
        return [await _alone(infer, request)]
    try:
        response = await infer(_copied(request))
    except MLServerError as error:
        if error.kind not in _ISOLATED:
            return [Outcome(len(rows), None, error)]
    else:
        # A model that says it is row-wise and answers otherwise is asked for each member alone, as without stacking.
        if has_rows(response, sum(rows)):
            return [Outcome(len(rows), response)]
    middle = len(rows) // 2
    cut, end = sum(rows[:middle]), sum(rows)
    left = await infer_members(infer, rows_of(request, 0, cut), rows[:middle])
    return left + await infer_members(infer, rows_of(request, cut, end), rows[middle:])


async def _alone(infer: Infer, request: TensorRequest) -> Outcome:
    try:
        return Outcome(1, await infer(request))
    except MLServerError as error:
        return Outcome(1, None, error)


def _copied(request: TensorRequest) -> TensorRequest:
    """The model may write into its arrays; what is tried again must be as it was received."""
    inputs = [
        Tensor(tensor.name, tensor.datatype, tensor.shape, tensor.data.copy(), tensor.parameters)
        for tensor in request.inputs
    ]
    return TensorRequest(
        request.model, request.version, inputs, request.id, request.parameters, request.outputs, request.headers
    )
