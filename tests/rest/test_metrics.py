"""What the server tells of its requests: metrics, and the access log."""

import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.rest.raw import Raw, get, inference, post
from tests.seed.serving import Served

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]
INFER = {"method": "POST", "path": "/v2/models/{model_name}/infer", "app_name": "mlserver"}


def scraped(port: int) -> Series:
    """Every value, by name and labels."""
    answer = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=20)
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/plain")
    samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}


def risen(before: Series, after: Series, name: str, **labels: str) -> float:
    """By how much."""
    key = (name, tuple(sorted(labels.items())))
    return after[key] - before.get(key, 0.0)


def asked(served: Served, *requests_: bytes) -> list[int]:
    """The statuses of requests on one connection."""
    with Raw(served.port) as raw:
        return [raw.ask(data).status for data in requests_]


def test_names_of_the_incumbent(served: Served, metrics_port: int) -> None:
    before = scraped(metrics_port)
    right = post("/v2/models/twice/infer", inference(1, 2))
    wrong = post("/v2/models/raiser/infer", inference(1, parameters={"how": "zero"}))
    versioned = post("/v2/models/twice/versions/v1/infer", inference(1, 2))
    too_large = b"POST /v2/models/sum/infer HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n"
    assert asked(served, right, right, wrong, versioned, too_large) == [200, 200, 500, 200, 413]
    after = scraped(metrics_port)
    assert risen(before, after, "model_infer_request_success_total", model="twice", version="v2") == 2
    assert risen(before, after, "model_infer_request_success_total", model="twice", version="v1") == 1
    assert risen(before, after, "model_infer_request_failure_total", model="raiser", version="") == 1
    assert risen(before, after, "model_infer_request_duration_count", model="twice", version="v2") == 2
    for status, count in (("200", 2), ("500", 1), ("413", 1)):
        assert risen(before, after, "rest_server_requests_total", status_code=status, **INFER) == count
    seconds = "rest_server_request_duration_seconds_count"
    assert risen(before, after, seconds, status_code="200", **INFER) == 2
    path = "/v2/models/{model_name}/versions/{model_version}/infer"
    assert risen(before, after, seconds, status_code="200", **(INFER | {"path": path})) == 1
    assert after["rest_server_requests_in_progress", (("app_name", "mlserver"), ("method", "POST"))] == 0


def test_health_is_not_counted_and_metadata_is(served: Served, metrics_port: int) -> None:
    before = scraped(metrics_port)
    assert asked(served, get("/v2"), get("/v2/health/live"), get("/v2/health/ready")) == [200] * 3
    after = scraped(metrics_port)
    counted = {
        key: value - before.get(key, 0.0) for key, value in after.items() if key[0] == "rest_server_requests_total"
    }
    (labels,) = [dict(key[1]) for key, value in counted.items() if value]
    assert labels == {"method": "GET", "path": "/v2", "status_code": "200", "app_name": "mlserver"}


def test_no_caller_can_add_a_series(served: Served, metrics_port: int) -> None:
    def unknown(n: int) -> list[bytes]:
        return [
            post(f"/v2/models/none-{n}/infer", inference(1)),
            post(f"/v2/models/sum/versions/{n}/infer", inference(1)),
            get(f"/v2/models/none-{n}"),
            get(f"/none-{n}"),
            get("/v2/models/sum/infer", method="PUT"),
        ]

    asked(served, *unknown(0))
    before = scraped(metrics_port)
    for n in range(1, 20):
        assert asked(served, *unknown(n)) == [404] * 4 + [405]
    assert scraped(metrics_port).keys() == before.keys()
    assert not [key for key in before if "none" in str(key)]


def test_the_metrics_port_knows_nothing_else(metrics_port: int, served: Served) -> None:
    with Raw(metrics_port) as raw:
        assert raw.ask(get("/v2")).status == 404
        assert raw.ask(post("/v2/models/sum/infer", inference(1))).status == 404
        assert raw.ask(get("/metrics")).status == 200
        raw.send(get("/metrics", method="HEAD"))
        assert raw.answer(bodiless=True).status == 200
        assert raw.ask(post("/metrics", b"x" * 70_000)).status == 413


def test_the_access_log_with_debug(served: Served) -> None:
    path = "/v2/models/sum/infer?seen=in-the-log%0A"
    asked(served, post(path, inference(1)), get("/v2?seen=too"), b"GET /\x01?seen=refused HTTP/1.1\r\n\r\n")
    line = served.wait_for("in-the-log")
    assert "[mlserver.rest] INFO - 127.0.0.1:" in line
    assert line.endswith('"POST /v2/models/sum/infer?seen=in-the-log%0A" 200')
    assert served.wait_for("seen=too").endswith('"GET /v2?seen=too" 200')


def test_no_access_log_without_debug(ailing: Served) -> None:
    asked(ailing, post("/v2/models/sum/infer?seen=in-the-log", inference(1)), get("/v2?seen=in-the-log"))
    asked(ailing, post("/v2/models/unready/infer", inference(1)))
    assert "in-the-log" not in ailing.log
    assert "POST" not in ailing.log
