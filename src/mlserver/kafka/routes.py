"""Which model a record is for, and which topic its answer goes to. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from mlserver.engine.words import ModelTopics
from mlserver.errors import InferenceError

# What Kafka takes for a topic; "." and ".." are its only other exceptions.
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


class Routes:
    """Topics of models that have some of their own, and the topics that a record may name for its answer."""

    def __init__(
        self, models: Iterable[ModelTopics] = (), reply_topics: Sequence[str] = (), shared_topic: str | None = None
    ) -> None:
        self._reply_topics = reply_topics
        self._shared_topic = shared_topic
        readers: dict[str, set[str]] = {}
        self._outputs: dict[tuple[str, str | None], str] = {}
        for model in models:
            for topic in model.inputs:
                readers.setdefault(topic, set()).add(model.name)
            if model.output:
                self._outputs[model.name, model.version] = model.output
        # A topic of two models, or the one that all share, needs the header as ever.
        self._models: Mapping[str, str] = {
            topic: next(iter(names)) for topic, names in readers.items() if len(names) == 1 and topic != shared_topic
        }

    def model_of(self, topic: str) -> str | None:
        """The only model that reads `topic`, whose records need not name it; else None."""
        return self._models.get(topic)

    def output_of(self, model: str, version: str | None) -> str | None:
        """The model's own output topic; None where it has none."""
        return self._outputs.get((model, version)) if self._outputs else None

    @property
    def replies(self) -> bool:
        """Whether records may name a topic for their answer at all."""
        return bool(self._reply_topics)

    def reply_topic(self, wanted: str) -> str:
        """`wanted`, where the settings allow it. Raises InferenceError."""
        if not _TOPIC.fullmatch(wanted) or wanted in (".", ".."):
            raise InferenceError(f"header reply-to is {wanted[:64]!r}, expected the name of a topic")
        if not any(fnmatchcase(wanted, pattern) for pattern in self._reply_topics):
            raise InferenceError(f"header reply-to names topic {wanted!r}, which kafka_reply_topics does not allow")
        return wanted
