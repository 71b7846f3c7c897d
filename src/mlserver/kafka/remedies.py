"""What to do about an error of a transaction. Pure."""

from enum import Enum, auto

from confluent_kafka import KafkaError


class Remedy(Enum):
    """In rising order of what it throws away."""

    REPEAT = auto()
    """The same call again: the broker was busy or away, and nothing is lost."""
    ABORT = auto()
    """The transaction, whose outcome is known then; what was in it is read again."""
    RENEW = auto()
    """The producer: nobody knows how its transaction ended until a new one of the same name has asked."""


def remedy(error: KafkaError) -> Remedy:
    """What `error`, of any call on a transactional producer, asks for.

    A call that timed out may still take effect, even after the next transaction has begun: it is never repeated.
    """
    if error.fatal() or error.code() in (KafkaError._TIMED_OUT, KafkaError._STATE):
        return Remedy.RENEW
    if error.txn_requires_abort():
        return Remedy.ABORT
    return Remedy.REPEAT if error.retriable() else Remedy.RENEW
