"""A transactional producer: made, known to its coordinator, called under the eye of a watchdog, thrown away."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaException, Producer

from mlserver.kafka.client_log import client_logger
from mlserver.kafka.config import request_seconds
from mlserver.kafka.remedies import Remedy, remedy

# One call, as a part of what librdkafka waits for the answer to a request. Then it sends the request again, and an end
# of this transaction that comes late would end the next one, half full: we must have given up before.
_CALL_PART = 0.8
# `send_offsets_to_transaction` ignores its time where a connection broke under it: so much later this process can only
# be replaced. One that was merely slow costs no more than that either.
_LATE_SECONDS = 2.0
_AGAIN_SECONDS = 0.05
# Between looks at whether the handling of an error still keeps hold of what it came from.
_LOOK_SECONDS = 0.05
# The references to a producer that nobody else has: its place in a list, and the argument of who counts them.
_OURS = 2
# One letter over its topic's limit fails its whole batch: for so long letters then travel alone, to tell which it is.
_CAREFUL_SECONDS = 60.0


def _cause_of(error: BaseException) -> BaseException:
    """What the client raised, where that made one of our own callbacks seem to fail.

    It raises a fatal error from among its callbacks, and runs those of the deliveries that are reported after it all
    the same: Python calls that a SystemError, whose cause is the one before it.
    """
    while isinstance(error, SystemError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _bury(producer: Producer) -> None:
    """Let go of a producer in a thread of its own, as soon as nobody else has it: its end can wait for a broker.

    Soon, since one that lives on still asks for its name's next epoch, and the producer after it would be fenced.
    """
    last = [producer]
    threading.Thread(target=_end, args=(last,), name="burial", daemon=True).start()


def _end(last: list[Producer]) -> None:
    while sys.getrefcount(last[0]) > _OURS:
        time.sleep(_LOOK_SECONDS)
    last.clear()


class TransactionalClient:
    """One producer at a time, all of the same name. Belongs to one thread, but for `stuck`."""

    careful: bool
    """Whether each letter is a batch of its own."""
    call_seconds: float
    """How long a call may take."""

    def __init__(self, config: dict[str, Any]) -> None:
        """Raises KafkaException with librdkafka's own message where `config` is wrong."""
        self._config = config
        self.call_seconds = _CALL_PART * request_seconds(config)
        self._producer: Producer | None = Producer(config, logger=client_logger)
        self._known = False
        self.careful = False
        self._careful_until = 0.0
        self._called: tuple[float, str] | None = None
        self._ended = threading.Event()

    @property
    def producer(self) -> Producer | None:
        """The present one; None where it was thrown away."""
        return self._producer

    @property
    def stuck(self) -> str | None:
        """What a call that does not return is told of as; None where there is none."""
        called = self._called
        limit = self.call_seconds + _LATE_SECONDS
        if called is not None and time.monotonic() - called[0] > limit:
            return f"{called[1]} has not returned for {limit:.0f} s"
        return None

    def ready(self) -> Producer:
        """A producer that its coordinator knows: every transaction of one before it has ended then.

        Raises KafkaException.
        """
        careful = time.monotonic() < self._careful_until
        if careful != self.careful:
            self.throw_away()
        if self._producer is None:
            config = self._config | ({"batch.num.messages": 1} if careful else {})
            self._producer, self._known, self.careful = Producer(config, logger=client_logger), False, careful
        if not self._known:
            self.call(self._producer.init_transactions, self.call_seconds)
            self._known = True
        return self._producer

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call, again where the broker asks for it. Raises KafkaException."""
        deadline = time.monotonic() + self.call_seconds
        while True:
            self._called = (time.monotonic(), function.__name__)
            try:
                return function(*arguments)
            except KafkaException as error:
                again = remedy(error.args[0]) is Remedy.REPEAT and not self._ended.is_set()
                if not again or time.monotonic() > deadline:
                    raise
            except SystemError as error:
                raise _cause_of(error) from None
            finally:
                self._called = None
            self._ended.wait(_AGAIN_SECONDS)

    def be_careful(self) -> None:
        """From the next transaction on, for a while."""
        self._careful_until = time.monotonic() + _CAREFUL_SECONDS

    def throw_away(self) -> None:
        """The producer, with all that it has not sent."""
        if self._producer is not None:
            # One that is beyond repair says so at every call; nobody wants to hear it any more.
            with contextlib.suppress(KafkaException):
                self._producer.purge()
                self.call(self._producer.poll, 0)
            _bury(self._producer)
        self._producer = None

    def end(self) -> None:
        """Repeat nothing from now on. For any thread."""
        self._ended.set()
