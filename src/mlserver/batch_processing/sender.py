"""Lines to requests: together where they may be, again where it may help, alone where one of them fails."""

import logging
import uuid
from collections.abc import Sequence

import tenacity

from mlserver.batch_processing.lines import BadLine, Line, Message
from mlserver.batch_processing.merging import groups, merged, split
from mlserver.batch_processing.results import Results
from mlserver.batch_processing.transport import RequestFailed, Transport

logger = logging.getLogger("mlserver.batch")

# Between tries; a server may ask for more, but not for an hour.
_RETRY_SECONDS = 1.0
_MAX_RETRY_SECONDS = 60.0


class Sender:
    """Sends what a worker has taken, and sees to it that every line of it gets its line of output."""

    def __init__(self, transport: Transport, retries: int, results: Results) -> None:
        self._transport = transport
        self._retries = retries
        self._results = results

    async def send(self, taken: Sequence[Line | BadLine]) -> None:
        """Never raises for what is wrong with a line, or with the server."""
        for bad in taken:
            if isinstance(bad, BadLine):
                self._results.unreadable(bad)
        for group in groups([line for line in taken if isinstance(line, Line)]):
            if len(group) == 1 or not await self._together(group):
                for line in group:
                    await self._alone(line)

    async def _together(self, lines: Sequence[Line]) -> bool:
        """Send `lines` as one request; False where each has to be sent alone to know what becomes of it."""
        id_ = str(uuid.uuid4())
        request, counts = merged(lines, id_)
        try:
            response = await self._infer(request)
        except RequestFailed as failure:
            if failure.reached:
                logger.info("request %s of %d lines: %s; sending each alone", id_, len(lines), failure)
                return False
            for line in lines:
                self._results.failed(line, str(failure), id_)
            return True
        parts = split(response, counts)
        if parts is None:
            logger.info("request %s: its answer has not a row for every row; sending each line alone", id_)
            return False
        for line, part in zip(lines, parts, strict=True):
            self._results.answered(line, part, id_)
        return True

    async def _alone(self, line: Line) -> None:
        try:
            response = await self._infer(line.request)
        except RequestFailed as failure:
            logger.info("line %d: %s", line.place, failure)
            self._results.failed(line, str(failure), line.id)
        else:
            self._results.answered(line, response, line.id)

    async def _infer(self, request: Message) -> Message:
        """The answer to `request`, tried again where that may help. Raises RequestFailed."""
        retrying = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(self._retries + 1),
            wait=_pause,
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, RequestFailed) and error.again),
            before_sleep=_tell,
            reraise=True,
        )
        logger.debug("sending request %s", request["id"])
        return await retrying(self._transport.infer, request)


def _failure(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _pause(state: tenacity.RetryCallState) -> float:
    """Seconds until the next try: what the server asked for, within bounds."""
    failure = _failure(state)
    asked = failure.after_seconds if isinstance(failure, RequestFailed) else 0.0
    return min(max(_RETRY_SECONDS, asked), _MAX_RETRY_SECONDS)


def _tell(state: tenacity.RetryCallState) -> None:
    logger.info("try %d failed: %s", state.attempt_number, _failure(state))
