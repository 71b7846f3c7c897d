"""The terminal records of a record: which letters, to which topic and partition, with which headers."""

import logging
from collections.abc import Mapping, Sequence

from mlserver.errors import MLServerError
from mlserver.kafka.answers import Signature, answer_headers, dead_letter_headers, error_answer
from mlserver.kafka.failures import DeadlinePassed, Skipped
from mlserver.kafka.letters import DEAD, ERROR, NOTHING, RESULT, Letter, Reports
from mlserver.kafka.records import Record
from mlserver.settings import Settings

logger = logging.getLogger("mlserver.kafka")

# Poison comes in floods; the whole message is in the dead letter.
_LOGGED_CHARACTERS = 300


class Post:
    """Writes letters; sending them is for others."""

    def __init__(self, settings: Settings, reports: Reports, partitions: Mapping[str, int]) -> None:
        """`partitions`: how many partitions a topic has, as far as that is known."""
        self._reports = reports
        self._partitions = partitions
        self._output_topic = settings.kafka_topic_output
        self._error_topic = settings.kafka_topic_error
        self._dead_topic = settings.kafka_topic_dead_letter
        self._signature = Signature(settings)

    def letters(self, record: Record) -> Sequence[Letter]:
        """All of what must be acknowledged before `record`, which has its end, is done."""
        if record.error is None:
            topic = record.reply or record.output or self._output_topic
            headers = answer_headers(record, self._signature)
            result = Letter(self._reports, RESULT, record, topic, record.body, headers)
            self._place(result)
            return (result,)
        if isinstance(record.error, Skipped):
            return (Letter(self._reports, NOTHING, record, "", None, []),)
        return self._apologies(record, record.error)

    def _apologies(self, record: Record, error: MLServerError) -> Sequence[Letter]:
        logger.warning("record %s: %s", record.source, str(error)[:_LOGGED_CHARACTERS])
        value, headers = error_answer(record, error, self._signature)
        reply = Letter(self._reports, ERROR, record, self.error_topic(record), value, headers)
        self._place(reply)
        if isinstance(error, DeadlinePassed):
            return (reply,)
        ours = dead_letter_headers(record, error, self._signature.server)
        return reply, Letter(self._reports, DEAD, record, self._dead_topic, record.value, ours)

    def error_topic(self, record: Record) -> str:
        """Where an error answer to `record` goes."""
        return record.reply or self._error_topic or record.output or self._output_topic

    def _place(self, letter: Letter) -> None:
        """Keep the source's partition where both topics have as many, so that their order is the same too."""
        count = self._partitions.get(letter.topic)
        lane = letter.record.lane
        if count and count == self._partitions.get(lane.topic):
            letter.partition = lane.partition
