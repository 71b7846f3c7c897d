"""Predicts, waits, drops and ends as Prometheus sees them."""

from prometheus_client import generate_latest

from mlserver.events import BatchRun, Hub, RequestsDropped, WorkerEnded
from mlserver.observe.prometheus import PrometheusListener


def test_what_the_engine_tells_is_shown() -> None:
    listener = PrometheusListener("rest_server")
    tell = Hub(listener).tell
    tell(BatchRun("m", None, rows=7, requests=4, queue_seconds=0.04, predict_seconds=0.002))
    tell(BatchRun("m", None, rows=1, requests=1, queue_seconds=0.0, predict_seconds=3.0))
    tell(RequestsDropped("m", None, 3))
    tell(WorkerEnded(0, "killed by SIGKILL"))
    shown = generate_latest(listener.registry).decode()
    for line in (
        'batch_request_queue_bucket{le="1.0",model_name="m",model_version=""} 1.0',
        'batch_request_queue_bucket{le="4.0",model_name="m",model_version=""} 2.0',
        'batch_request_queue_sum{model_name="m",model_version=""} 5.0',
        'model_predict_rows_sum{model="m",version=""} 8.0',
        'model_queue_seconds_bucket{le="0.01",model="m",version=""} 5.0',
        'model_queue_seconds_sum{model="m",version=""} 0.04',
        'model_predict_seconds_bucket{le="2.5",model="m",version=""} 1.0',
        'model_predict_seconds_count{model="m",version=""} 2.0',
        'model_requests_dropped_total{model="m",version=""} 3.0',
        "workers_ended_total 1.0",
    ):
        assert line in shown, shown
