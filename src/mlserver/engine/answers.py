"""Outcomes on their way back over a socket: from a worker to the server, from the server to a door."""

from collections.abc import Iterator, Sequence

from mlserver.engine.frames import UNSENDABLE, Buffer, Frame
from mlserver.engine.isolate import Outcome
from mlserver.errors import ModelError

Numbered = tuple[int, Outcome]
"""The number of a call, and an outcome of it."""


def answer_parts(outcomes: Sequence[Numbered]) -> Iterator[list[Buffer]]:
    """The parts of one frame with all outcomes; where they cannot be one, of one for each.

    An outcome that has no form on a socket is its model's failure, and the others are sent.
    """
    try:
        whole = _frame_of(outcomes).parts()
    except UNSENDABLE:
        yield from map(_alone, outcomes)
    else:
        yield whole


def _alone(one: Numbered) -> list[Buffer]:
    number, outcome = one
    try:
        return _frame_of([one]).parts()
    except UNSENDABLE as error:
        failure = ModelError(f"the model's answer cannot be passed on: {error}")
        return _frame_of([(number, Outcome(outcome.members, None, failure))]).parts()


def _frame_of(outcomes: Sequence[Numbered]) -> Frame:
    frame = Frame()
    for number, outcome in outcomes:
        if outcome.response is not None:
            frame.result(number, outcome.members, outcome.response)
        else:
            frame.failure(number, outcome.members, outcome.error or ModelError("no answer"))
    return frame
