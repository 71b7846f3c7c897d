"""What a failure means for the record that had it: the Kafka door's table of kinds. Pure."""

from enum import Enum, auto
from typing import Literal

from mlserver.engine.words import Failure
from mlserver.errors import DeadlineExceeded, Kind, MLServerError, ModelNotFound, ModelNotReady, WorkerDied

UnknownModel = Literal["error", "wait", "skip"]


class Verdict(Enum):
    """What to do with a record that failed."""

    FINAL = auto()
    """It would fail again: error answer and dead letter."""
    WAIT = auto()
    """Nobody has looked at it: try until somebody does, however long that takes."""
    AGAIN = auto()
    """It may do better next time, so many times."""
    ALONE = auto()
    """It, or one that was predicted beside it, has killed or stopped a worker: try it with nobody beside it."""
    SKIP = auto()
    """It is for another server: no answer."""


class DeadlinePassed(DeadlineExceeded):
    """The record's own deadline is over: whoever sent it gets an error answer, and there is no dead letter."""

    def __init__(self, place: str = "of the record") -> None:
        super().__init__(f"the deadline {place} has passed")


class Skipped(MLServerError):
    """The record is for a model of another server, and gets no answer here."""

    kind = Kind.NOT_FOUND


class PoisonCrash(MLServerError):
    """A record that ended or stopped its worker each time it was tried, alone at the last."""

    kind = Kind.UNAVAILABLE
    word = "poison_crash"


def word_of(error: MLServerError) -> str:
    """The one word for `error` in a dead letter."""
    return error.word if isinstance(error, PoisonCrash) else error.kind.value


def judge(failure: Failure, unknown_model: UnknownModel) -> Verdict:
    """What `failure` calls for."""
    if failure.error == ModelNotFound.__name__:
        return {"error": Verdict.FINAL, "wait": Verdict.WAIT, "skip": Verdict.SKIP}[unknown_model]
    if failure.error == ModelNotReady.__name__ or failure.kind == Kind.OVERLOADED:
        return Verdict.WAIT
    if failure.error == WorkerDied.__name__ or failure.kind == Kind.TIMEOUT:
        return Verdict.ALONE
    return Verdict.AGAIN if failure.kind == Kind.UNAVAILABLE else Verdict.FINAL
