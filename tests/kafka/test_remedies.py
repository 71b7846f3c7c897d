"""What is done about each error of a transaction: a table, and each code that brokers send for it."""

import pytest
from confluent_kafka import KafkaError

from mlserver.kafka.remedies import Remedy, remedy


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KafkaError(KafkaError._FATAL, "", fatal=True), Remedy.RENEW),
        (KafkaError(KafkaError._FENCED, "", fatal=True), Remedy.RENEW),
        (KafkaError(KafkaError.INVALID_PRODUCER_EPOCH, "", fatal=True), Remedy.RENEW),
        (KafkaError(KafkaError._TIMED_OUT, "", retriable=True), Remedy.RENEW),
        (KafkaError(KafkaError._STATE), Remedy.RENEW),
        (KafkaError(KafkaError.ILLEGAL_GENERATION, "", txn_requires_abort=True), Remedy.ABORT),
        (KafkaError(KafkaError.UNKNOWN_MEMBER_ID, "", txn_requires_abort=True), Remedy.ABORT),
        (KafkaError(KafkaError.FENCED_INSTANCE_ID, "", txn_requires_abort=True), Remedy.ABORT),
        (KafkaError(KafkaError.COORDINATOR_NOT_AVAILABLE, "", retriable=True), Remedy.REPEAT),
        (KafkaError(KafkaError.CONCURRENT_TRANSACTIONS, "", retriable=True), Remedy.REPEAT),
        (KafkaError(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED), Remedy.RENEW),
    ],
)
def test_what_is_done(error: KafkaError, expected: Remedy) -> None:
    assert remedy(error) is expected
