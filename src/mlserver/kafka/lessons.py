"""What an aborted transaction has taught about the records in it. Pure.

In a transaction one letter that its topic refuses takes all others along. So what was refused, and why, is remembered
by its source until that has been committed, and the next transaction does not make the same mistake.
"""

from collections.abc import Callable, Sequence

from confluent_kafka import KafkaError

from mlserver.kafka.answers import no_reply, too_large
from mlserver.kafka.letters import RESULT, Letter
from mlserver.kafka.post import Post
from mlserver.kafka.records import Record

# A topic that a sender chose must not hold up the others: where there is none, the answer goes where it else would.
NO_SUCH_TOPIC = frozenset({
    KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_EXCEPTION,
})  # fmt: skip

_Lesson = Callable[[Sequence[Letter]], Sequence[Letter]]


class Lessons:
    """By source; each is applied to the letters that the ones before it have left."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._learnt: dict[str, list[_Lesson]] = {}

    def letters(self, record: Record) -> Sequence[Letter]:
        """The letters of `record`, as they were not yet refused."""
        letters = self._post.letters(record)
        for lesson in self._learnt.get(record.source, ()) if self._learnt else ():
            letters = lesson(letters)
        return letters

    def learn(self, letter: Letter, error: KafkaError) -> bool:
        """Remember why `letter` was refused; False where nothing can be done about it but to wait."""
        record, part = letter.record, letter.part
        lesson: _Lesson
        if letter.topic == record.reply and error.code() in NO_SUCH_TOPIC:
            topic, why = letter.topic, error.str()

            def lesson(letters: Sequence[Letter]) -> Sequence[Letter]:
                mine = letters[0].record
                mine.reply = None
                mine.error = mine.error or no_reply(topic, why)
                return self._post.letters(mine)

        elif error.code() != KafkaError.MSG_SIZE_TOO_LARGE:
            return False
        elif part is RESULT:
            size = len(letter.value or b"")

            def lesson(letters: Sequence[Letter]) -> Sequence[Letter]:
                letters[0].record.error = too_large(size)
                return self._post.letters(letters[0].record)

        else:

            def lesson(letters: Sequence[Letter]) -> Sequence[Letter]:
                for each in letters:
                    if each.part is part:
                        each.shrink()
                return letters

        self._learnt.setdefault(record.source, []).append(lesson)
        return True

    def forget(self, record: Record) -> None:
        """`record` is done."""
        if self._learnt:
            self._learnt.pop(record.source, None)
