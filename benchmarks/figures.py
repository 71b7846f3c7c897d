"""What one measured window gives, and the median of several."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figures:
    """One window. A count is requests over HTTP, records over Kafka; there is no latency in a backlog."""

    count: int
    seconds: float
    server_cpu_us: float
    """User + system microseconds of the server's process tree per request or record."""
    generator_cpu_us: float
    """The same of the load generator: what the measuring itself costs."""
    rate: float
    """Requests or records per second."""
    rss_mb: float
    """Resident megabytes (1e6 bytes) of the server's tree, the highest seen."""
    p50_ms: float | None = None
    p99_ms: float | None = None


def percentile(ordered: Sequence[float], share: float) -> float:
    """Nearest-rank percentile of an ascending sequence."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(runs: Sequence[Figures]) -> Figures:
    """Field by field; memory is the highest of all runs instead."""
    return Figures(
        count=int(statistics.median(run.count for run in runs)),
        seconds=statistics.median(run.seconds for run in runs),
        server_cpu_us=statistics.median(run.server_cpu_us for run in runs),
        generator_cpu_us=statistics.median(run.generator_cpu_us for run in runs),
        rate=statistics.median(run.rate for run in runs),
        rss_mb=max(run.rss_mb for run in runs),
        p50_ms=_median_known([run.p50_ms for run in runs]),
        p99_ms=_median_known([run.p99_ms for run in runs]),
    )


def _median_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
