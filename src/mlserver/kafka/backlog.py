"""What waits where a group starts: a first start reads from the beginning, and whoever starts it should know."""

import logging
import time
from collections.abc import Sequence

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, Message, TopicPartition

from mlserver.settings import Settings

logger = logging.getLogger("mlserver.kafka")

# Asked while partitions are being assigned, when nobody polls: a broker that is slow to answer is not waited for.
_SECONDS = 2.0


def tell_backlog(settings: Settings, consumer: Consumer, partitions: list[TopicPartition]) -> None:
    """Log how many records wait in those of `partitions` where the group has never committed."""
    deadline = time.monotonic() + _SECONDS
    waiting = 0
    try:
        committed = consumer.committed(partitions, timeout=_SECONDS)
        fresh = [found for found in committed if found.offset == OFFSET_INVALID]
        for found in fresh:
            marks = consumer.get_watermark_offsets(found, timeout=max(0.001, deadline - time.monotonic()))
            waiting += marks[1] - marks[0] if marks else 0
    except KafkaException:
        return
    if waiting:
        logger.info(
            "group %s starts %s with %s: %d retained records there",
            settings.kafka_group_id, named(fresh), settings.kafka_auto_offset_reset, waiting,
        )  # fmt: skip


def tell_lost_place(settings: Settings, message: Message, error: KafkaError) -> None:
    """A partition without a place to go on from is not read; nobody but an operator knows which is right."""
    logger.error(
        "%s/%s is not read: %s; kafka_auto_offset_reset is %r, so set the offset of group %s",
        message.topic(), message.partition(), error.str(), settings.kafka_auto_offset_reset, settings.kafka_group_id,
    )  # fmt: skip


def named(partitions: Sequence[TopicPartition]) -> str:
    """Partitions as the log names them."""
    return ", ".join(f"{found.topic}/{found.partition}" for found in partitions) or "nothing"
