"""One consumer group of this server: what reads its topics, and what writes the answers."""

import queue
from collections.abc import Callable, Iterable, Sequence

from mlserver.engine.words import ModelTopics
from mlserver.kafka.config import consumer_config, producer_config, transactional_config
from mlserver.kafka.reader import Batch, Reader
from mlserver.kafka.transactions import Transactions
from mlserver.kafka.writer import Writer
from mlserver.settings import Settings


class Group:
    """What a bridge is made of: the group's name, the server's settings, and where batches go."""

    def __init__(
        self, name: str, settings: Settings, identity: str, batches: queue.Queue[Batch], wake: Callable[[], None]
    ) -> None:
        """`identity` is the server's own, the same for every life of its door."""
        self.name = name
        self.settings = settings.model_copy(update={"kafka_group_id": name})
        self.identity = identity
        self.batches = batches
        self.wake = wake


def make_bridge(group: Group) -> tuple[Reader, Writer | Transactions]:
    """A consumer, not yet subscribed, and its producer. Raises KafkaException with librdkafka's own message."""
    settings = group.settings
    consumer = consumer_config(settings)
    if settings.kafka_delivery == "exactly_once":
        config = transactional_config(settings, consumer, group.identity)
        writer: Writer | Transactions = Transactions(settings, config)
    else:
        writer = Writer(settings, producer_config(settings))
    reader = Reader(settings, consumer, writer, group.batches, group.wake)
    return reader, writer


def topics_by_group(settings: Settings, models: Iterable[ModelTopics]) -> dict[str, list[str]]:
    """What each group reads: the server's group the shared topic, and each model's group that model's topics."""
    found: dict[str, list[str]] = {settings.kafka_group_id: [settings.kafka_topic_input]}
    for model in models:
        topics = found.setdefault(model.group or settings.kafka_group_id, [])
        topics += [topic for topic in model.inputs if topic not in topics]
    return {group: topics for group, topics in found.items() if topics}


def topics_written(settings: Settings, models: Sequence[ModelTopics]) -> tuple[str, ...]:
    """The topics of answers, those of models included."""
    shared = (settings.kafka_topic_output, settings.kafka_topic_error or settings.kafka_topic_output)
    return tuple(dict.fromkeys([*shared, *(model.output for model in models if model.output)]))
