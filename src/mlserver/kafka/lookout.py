"""About once a second: what operators see of a consumer's partitions. Belongs to the thread that polls."""

import time
from collections.abc import Mapping

from confluent_kafka import Consumer, TopicPartition

from mlserver.kafka.figures import Figures, ages
from mlserver.kafka.topics import Topics
from mlserver.kafka.tracker import Lane

_EVERY_SECONDS = 1.0


class Lookout:
    """Writes into the figures of a group."""

    def __init__(self, figures: Figures, lanes: Mapping[tuple[str, int], Lane], topics: Topics) -> None:
        self._figures = figures
        self._lanes = lanes
        self._topics = topics
        self._looked_at = 0.0

    def look(self, consumer: Consumer, *, paused: bool) -> None:
        """If it is time; asks a broker that was away whether it is back."""
        now = time.monotonic()
        if now - self._looked_at < _EVERY_SECONDS:
            return
        self._looked_at = now
        figures = self._figures
        if figures.away and self._topics.answers():
            figures.away = False
        figures.paused = paused
        found = ages(self._lanes.values(), now)
        figures.partitions = [(*name, self._lag(consumer, *name), age) for name, age in found.items()]

    def _lag(self, consumer: Consumer, topic: str, partition: int) -> int | None:
        """Records behind the end of the log, by what the last fetch said of that; None where there was none yet."""
        marks = consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
        lane = self._lanes[topic, partition]
        if not marks or marks[1] < 0 or lane.start is None:
            return None
        return max(0, marks[1] - lane.position)
