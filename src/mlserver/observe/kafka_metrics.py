"""Prometheus metrics of the Kafka door, as it last reported them. Its counts begin anew with each life of the door."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from mlserver.events import KafkaFigures

_GROUP = ("group",)
_PARTITION = ("group", "topic", "partition")


class KafkaMetrics(Collector):
    """Holds the last report."""

    def __init__(self) -> None:
        self._last: KafkaFigures | None = None

    def reported(self, event: KafkaFigures) -> None:
        """Take a report in."""
        self._last = event

    def collect(self) -> Iterator[Metric]:
        last = self._last
        if last is None:
            return
        up = GaugeMetricFamily("kafka_up", "Whether the door runs, and has its broker", labels=_GROUP)
        for group in last.groups:
            up.add_metric([group["group"]], float(last.alive and not group["away"]))
        degraded = GaugeMetricFamily(
            "kafka_degraded", "Whether broker or a topic to write to is missing", labels=_GROUP
        )
        for group in last.groups:
            degraded.add_metric([group["group"]], float(not last.alive or group["away"] or group["held"]))
        yield from (up, degraded)
        if last.alive:
            yield from _gauges(last)
            yield from _counts(last)


def _gauges(last: KafkaFigures) -> Iterator[Metric]:
    in_flight = GaugeMetricFamily("kafka_in_flight_records", "Records read and not yet committed", labels=_GROUP)
    paused = GaugeMetricFamily("kafka_paused", "Whether reading waits for room", labels=_GROUP)
    lag = GaugeMetricFamily("kafka_lag_records", "Records not yet committed", labels=_PARTITION)
    oldest = GaugeMetricFamily(
        "kafka_oldest_unfinished_seconds", "Since the oldest unfinished record was read", labels=_PARTITION
    )
    for group in last.groups:
        in_flight.add_metric([group["group"]], group["in_flight"])
        paused.add_metric([group["group"]], float(group["paused"]))
        for topic, partition, behind, seconds in group["partitions"]:
            labels = [group["group"], topic, str(partition)]
            if behind is not None:
                lag.add_metric(labels, behind)
            oldest.add_metric(labels, seconds)
    yield from (in_flight, paused, lag, oldest)


def _counts(last: KafkaFigures) -> Iterator[Metric]:
    records = CounterMetricFamily("kafka_records", "Records by what became of them", labels=("group", "outcome"))
    commits = SummaryMetricFamily("kafka_commit_duration_seconds", "Commits of offsets", labels=_GROUP)
    transactions = SummaryMetricFamily("kafka_transaction_duration_seconds", "Transactions committed", labels=_GROUP)
    aborted = CounterMetricFamily("kafka_transactions_aborted", "Transactions given up", labels=_GROUP)
    rebalances = CounterMetricFamily("kafka_rebalances", "Partitions assigned, revoked or lost", labels=_GROUP)
    refused = CounterMetricFamily("kafka_delivery_failures", "Answers that a broker refused", labels=_GROUP)
    for group in last.groups:
        name = [group["group"]]
        for outcome, count in group["outcomes"].items():
            records.add_metric([*name, outcome], count)
        for family, (count, seconds) in ((commits, group["commits"]), (transactions, group["transactions"])):
            family.add_metric(name, count_value=count, sum_value=seconds)
        aborted.add_metric(name, group["aborted"])
        rebalances.add_metric(name, group["rebalances"])
        refused.add_metric(name, group["refused"])
    batches = SummaryMetricFamily("kafka_batch_records", "Records that one poll brought")
    batches.add_metric([], count_value=last.batches, sum_value=last.batch_records)
    retried = CounterMetricFamily("kafka_retries", "Times that a record was to be tried again")
    retried.add_metric([], last.retried)
    yield from (records, commits, transactions, aborted, rebalances, refused, batches, retried)
