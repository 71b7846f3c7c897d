"""requests, which knows nothing of the protocol: `python -m tests.clients.scripts.requests_client URL`."""

import gzip
import json
import struct
import sys
import zlib
from typing import Any

import requests

from tests.clients.scripts.checks import Checks, raised, report

CHECKS = Checks()
ROWS = {"name": "rows", "shape": [2, 2], "datatype": "FP64", "data": [[1.0, 2.0], [3.0, 5.0]]}


class Server:
    """Where the addresses begin, and connections that are kept."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = requests.Session()

    def get(self, path: str) -> Any:
        return self._session.get(self._url + path, timeout=30)

    def post(self, path: str, timeout: float = 30, **options: Any) -> Any:
        return self._session.post(self._url + path, timeout=timeout, **options)

    def infer(self, model: str, **fields: Any) -> Any:
        return self.post(f"/v2/models/{model}/infer", json={"inputs": [ROWS], **fields})


def told(answer: Any) -> Any:
    return [answer.status_code, answer.headers["content-type"], answer.json()["error"]]


@CHECKS("health")
def live_and_ready(server: Server) -> Any:
    return [server.get("/v2/health/live").json()["live"], server.get("/v2/health/ready").json()["ready"]]


@CHECKS("health")
def model_ready(server: Server) -> Any:
    paths = ("echo", "versioned/versions/2")
    return [server.get(f"/v2/models/{path}/ready").json()["ready"] for path in paths]


@CHECKS("metadata")
def server(server: Server) -> Any:
    metadata = server.get("/v2").json()
    return [metadata["name"], "binary_tensor_data" in metadata["extensions"]]


@CHECKS("metadata")
def model(server: Server) -> Any:
    (tensor,) = server.get("/v2/models/sum").json()["inputs"]
    return [tensor["name"], tensor["datatype"], tensor["shape"]]


@CHECKS("configuration")
def configuration(server: Server) -> Any:
    config = server.get("/v2/models/sum/config").json()
    (tensor,) = config["input"]
    return [config["name"], tensor["name"], tensor["data_type"], tensor["dims"]]


@CHECKS("statistics")
def of_all_models(server: Server) -> Any:
    found = server.get("/v2/models/stats").json()["model_stats"]
    return {"echo", "sum"} <= {model["name"] for model in found}


@CHECKS("repository")
def index(server: Server) -> Any:
    found = server.post("/v2/repository/index").json()
    return {model["name"]: model["state"] for model in found}["shelf"]


@CHECKS("JSON data")
def nested(server: Server) -> Any:
    return server.infer("echo").json()["outputs"][0]["data"]


@CHECKS("JSON data")
def nested_text(server: Server) -> Any:
    tensor = {"name": "x", "shape": [2, 1], "datatype": "BYTES", "data": [["ab"], ["c"]]}
    return server.infer("echo", inputs=[tensor]).json()["outputs"][0]["data"]


@CHECKS("binary data")
def by_hand(server: Server) -> Any:
    tensor = {"name": "x", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    body = head + struct.pack("<2f", 0.5, -2.0)
    answer = server.post(
        "/v2/models/echo/infer", data=body, headers={"Inference-Header-Content-Length": str(len(head))}
    )
    length = int(answer.headers["Inference-Header-Content-Length"])
    return list(struct.unpack("<2f", answer.content[length:]))


@CHECKS("requested outputs")
def one_of_them(server: Server) -> Any:
    (output,) = server.infer("sum", outputs=[{"name": "means"}]).json()["outputs"]
    return [output["name"], output["data"]]


@CHECKS("ids, versions and parameters")
def request_id(server: Server) -> Any:
    return server.infer("sum", id="one").json()["id"]


@CHECKS("classes")
def best_of_each_row(server: Server) -> Any:
    tensor = {"name": "scores", "shape": [1, 3], "datatype": "FP32", "data": [0.25, 0.5, 0.125]}
    outputs = [{"name": "scores", "parameters": {"classification": 2}}]
    return server.infer("scores", inputs=[tensor], outputs=outputs).json()["outputs"][0]["data"]


@CHECKS("compression")
def both_ways(server: Server) -> Any:
    body = json.dumps({"inputs": [ROWS | {"shape": [400, 1], "data": [1.0] * 400}]}).encode()
    packed = {"gzip": gzip.compress(body), "deflate": zlib.compress(body)}
    return {name: _compressed(server, name, data) for name, data in packed.items()}


def _compressed(server: Server, name: str, body: bytes) -> Any:
    headers = {"Content-Encoding": name, "Accept-Encoding": name}
    answer = server.post("/v2/models/echo/infer", data=body, headers=headers)
    return answer.headers["content-encoding"] == name and answer.json()["outputs"][0]["data"] == [1.0] * 400


@CHECKS("errors")
def unknown_model(server: Server) -> Any:
    return told(server.infer("none"))


@CHECKS("errors")
def wrong_shape(server: Server) -> Any:
    return told(server.infer("echo", inputs=[ROWS | {"shape": [3, 2]}]))


@CHECKS("errors")
def no_json(server: Server) -> Any:
    return told(server.post("/v2/models/echo/infer", data=b"{"))


@CHECKS("errors")
def model_failed(server: Server) -> Any:
    return told(server.infer("fails", id="seven"))


@CHECKS("timeouts")
def of_the_request(server: Server) -> Any:
    return told(server.infer("never", parameters={"timeout": 200_000}))


@CHECKS("timeouts")
def of_the_client(server: Server) -> Any:
    return raised(lambda: server.post("/v2/models/never/infer", timeout=0.2, json={"inputs": [ROWS]}), lambda _: True)


@CHECKS("streams")
def server_sent_events(server: Server) -> Any:
    tensor = {"name": "x", "shape": [1], "datatype": "INT32", "data": [3]}
    answer = server.post("/v2/models/count/infer_stream", json={"inputs": [tensor]}, stream=True)
    events = [line for line in answer.iter_lines() if line.startswith(b"data: ")]
    return [json.loads(event[6:])["outputs"][0]["data"] for event in events]


@CHECKS("trace and log settings")
def log_settings(server: Server) -> Any:
    return server.get("/v2/logging").json()["log_info"]


@CHECKS("changes of trace and log settings")
def change_log_settings(server: Server) -> Any:
    return told(server.post("/v2/logging", json={"log_verbose_level": 1}))


@CHECKS("shared memory")
def register_system(server: Server) -> Any:
    body = {"key": "/key", "offset": 0, "byte_size": 64}
    return told(server.post("/v2/systemsharedmemory/region/region/register", json=body))


report({"requests": CHECKS.run(Server(sys.argv[1]))})
