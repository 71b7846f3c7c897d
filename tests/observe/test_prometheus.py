"""The names and numbers that dashboards of MLServer 1.7 read."""

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from mlserver.errors import Kind
from mlserver.events import HttpDone, HttpStarted, Hub, ModelLoaded, RequestDone
from mlserver.observe.prometheus import PrometheusListener

INFER = "/v2/models/{model_name}/infer"


def samples(listener: PrometheusListener) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    found = {}
    for family in text_string_to_metric_families(generate_latest(listener.registry).decode()):
        for sample in family.samples:
            found[sample.name, frozenset(sample.labels.items())] = sample.value
    return found


def test_requests_by_model() -> None:
    listener = PrometheusListener("rest_server")
    tell = Hub(listener).tell
    tell(RequestDone("m", "v1", 0.5, None))
    tell(RequestDone("m", "v1", 0.25, None, count=100))
    tell(RequestDone("m", "v1", 9.0, Kind.INVALID, count=3))
    tell(RequestDone("n", None, 1.0, Kind.MODEL))
    found = samples(listener)
    m, n = frozenset({("model", "m"), ("version", "v1")}), frozenset({("model", "n"), ("version", "")})
    assert found["model_infer_request_success_total", m] == 101
    assert found["model_infer_request_failure_total", m] == 3
    assert found["model_infer_request_duration_count", m] == 101
    assert found["model_infer_request_duration_sum", m] == 25.5
    assert (found["model_infer_request_success_total", n], found["model_infer_request_failure_total", n]) == (0, 1)


def test_requests_by_route() -> None:
    listener = PrometheusListener("my_prefix")
    tell = Hub(listener).tell
    for seconds in (0.001, 0.004, 0.3, 100):
        tell(HttpStarted("POST", INFER))
        tell(HttpDone("POST", INFER, 200, seconds))
    tell(HttpStarted("POST", INFER))
    found = samples(listener)
    labels = {("method", "POST"), ("path", INFER), ("status_code", "200"), ("app_name", "mlserver")}
    assert found["my_prefix_requests_total", frozenset(labels)] == 4
    assert found["my_prefix_request_duration_seconds_count", frozenset(labels)] == 4
    assert found["my_prefix_request_duration_seconds_sum", frozenset(labels)] == 100.305
    below = {
        bound: found["my_prefix_request_duration_seconds_bucket", frozenset(labels | {("le", bound)})]
        for bound in ("0.005", "0.25", "0.5", "10.0", "+Inf")
    }
    assert below == {"0.005": 2, "0.25": 2, "0.5": 3, "10.0": 3, "+Inf": 4}
    assert found["my_prefix_requests_in_progress", frozenset({("method", "POST"), ("app_name", "mlserver")})] == 1


def test_other_events_are_none_of_its_business() -> None:
    listener = PrometheusListener("rest_server")
    tell = Hub(listener).tell
    before = {key for key in samples(listener) if not key[0].startswith(("process_", "python_"))}
    tell(ModelLoaded("m", None, 1.0))
    assert {key for key in samples(listener) if not key[0].startswith(("process_", "python_"))} == before


def test_the_process_tells_of_itself() -> None:
    names = {name for name, _ in samples(PrometheusListener("rest_server"))}
    assert {"process_cpu_seconds_total", "process_resident_memory_bytes", "python_info"} <= names
