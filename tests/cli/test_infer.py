"""`mlserver infer`, the real command against a real server."""

import json
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.cli.commands import PATIENCE_SECONDS, mlserver
from tests.seed.serving import Served

pytestmark = pytest.mark.usefixtures("here")

Answers = dict[int, dict[str, Any]]


def line(*numbers: float, **more: Any) -> dict[str, Any]:
    """A request with one row."""
    return {"inputs": [{"name": "x", "shape": [1, len(numbers)], "datatype": "FP64", "data": [*numbers]}], **more}


def ask(served: Served, model: str, lines: list[Any], *options: str, **variables: str) -> tuple[Answers, str, int]:
    """The output by the places of its lines, what was said on standard error, and the exit status."""
    text = [given if isinstance(given, str) else json.dumps(given) for given in lines]
    Path("in.jsonl").write_text("\n".join(text) + "\n")
    arguments = ["-u", served.url, "-m", model, "-i", "in.jsonl", "-o", "out.jsonl"]
    done = mlserver("infer", *arguments, *options, **variables)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stdout == ""
    found = [json.loads(text) for text in Path("out.jsonl").read_text().splitlines()]
    answers = {answer["parameters"]["batch_index"]: answer for answer in found}
    assert len(answers) == len(found)
    return answers, done.stderr, done.returncode


def test_every_line_is_answered(served: Served) -> None:
    lines = [line(1, 2, id="one"), line(3)]
    answers, stderr, status = ask(served, "double", lines)
    assert (stderr, status) == ("", 0)
    assert answers[0] == {
        "model_name": "double",
        "id": "one",
        "parameters": {"rows": 1, "batch_index": 0, "inference_id": "one"},
        "outputs": [{"name": "double", "shape": [1, 2], "datatype": "FP64", "parameters": None, "data": [2.0, 4.0]}],
    }
    assert answers[1]["outputs"][0]["data"] == [6.0]
    assert answers[1]["id"] == answers[1]["parameters"]["inference_id"] != ""


def test_many_lines_by_many_workers(served: Served) -> None:
    answers, _, status = ask(served, "double", [line(i) for i in range(100, 400)], "-w", "7", "-s", "4")
    assert status == 0
    assert [answers[i]["outputs"][0]["data"] for i in range(300)] == [[2.0 * i] for i in range(100, 400)]
    assert {answer["parameters"]["rows"] for answer in answers.values()} == {4}


def test_lines_that_agree_go_together(served: Served) -> None:
    lines = [line(1, id="a"), line(2, 3, id="b"), line(4, id="c"), line(5, id="d", parameters={"tenant": "t"})]
    answers, _, status = ask(served, "double", lines, "-s", "4", "-w", "1")
    assert status == 0
    assert [answers[i]["id"] for i in range(4)] == ["a", "b", "c", "d"]
    assert [answers[i]["parameters"]["rows"] for i in range(4)] == [2, 1, 2, 1]
    together = [answers[i]["parameters"]["inference_id"] for i in range(4)]
    assert together[0] == together[2] not in ("a", "c")
    assert (together[1], together[3]) == ("b", "d")
    assert [answers[i]["outputs"][0]["data"] for i in range(4)] == [[2.0], [4.0, 6.0], [8.0], [10.0]]


@pytest.mark.parametrize(
    ("bad", "status", "message"),
    [
        ("{not JSON", "preprocessing error", "not valid JSON: "),
        ("[1]", "preprocessing error", "expected a JSON object, got [1]"),
        (line(7), "inference error", "400: 7 is refused"),
        (line(13), "inference error", "500: ValueError: 13 is bad luck"),
        ({"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP64", "data": [1, 2]}]}, "inference error", "400: "),
        ({"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP64", "data": ["a"]}]}, "inference error", "400: "),
        ({"id": "x"}, "inference error", "400: "),
        (line(1, id=5), "inference error", "400: "),
    ],
)
def test_a_bad_line_harms_only_itself(served: Served, bad: Any, status: str, message: str) -> None:
    answers, stderr, code = ask(served, "double", [line(1), bad, line(3)], "-s", "3", "-r", "0")
    assert answers[0]["outputs"][0]["data"] == [2.0]
    assert answers[2]["outputs"][0]["data"] == [6.0]
    error = answers[1]["error"]
    assert error["status"] == status
    assert error["msg"].startswith(message)
    assert code == 1
    assert stderr == f"error: 1 of 3 lines failed, first line 1: {error['msg']}\n"


def test_blank_lines_are_counted_and_not_sent(served: Served) -> None:
    answers, _, status = ask(served, "double", ["", line(1), "  ", line(2)])
    assert (sorted(answers), status) == ([1, 3], 0)


def test_an_answer_without_a_row_for_each_row_is_asked_for_again_alone(served: Served) -> None:
    answers, _, status = ask(served, "mean", [line(1, 3), line(5, 7)], "-s", "2")
    assert status == 0
    assert [answers[i]["outputs"][0]["data"] for i in range(2)] == [[2.0], [6.0]]


def test_tries_again(served: Served) -> None:
    answers, stderr, status = ask(served, "flaky", [line(1)], "-r", "1", "-v")
    assert status == 0, answers
    assert stderr == "INFO try 1 failed: 503: come again\n"


def test_a_server_that_does_not_answer(served: Served) -> None:
    answers, _, status = ask(served, "never", [line(1)], "-r", "0", "--timeout", "0.2")
    assert status == 1
    assert answers[0]["error"] == {"status": "inference error", "msg": "no answer after 0.2 s"}


def test_a_server_that_is_not_there(unused_tcp_port: int) -> None:
    Path("in.jsonl").write_text(json.dumps(line(1)) + "\n" + json.dumps(line(2)) + "\n")
    done = mlserver(
        "infer", "-u", f"localhost:{unused_tcp_port}", "-m", "m", "-i", "in.jsonl", "-o", "out", "-r", "0", "-s", "2"
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: 2 of 2 lines failed, first line 0: cannot reach http://localhost:")
    assert len(Path("out").read_text().splitlines()) == 2


def test_headers(served: Served) -> None:
    answers, _, status = ask(served, "headers", [line(1, id="ä\n1")], "-H", "X-Tenant: a b", "-H", "Authorization:c")
    assert status == 0
    headers = json.loads(answers[0]["outputs"][0]["data"][0])
    assert (headers["x-tenant"], headers["authorization"]) == ("a b", "c")
    assert headers["x-request-id"] == headers["seldon-puid"] == "%C3%A4%0A1"


def test_variables(served: Served) -> None:
    Path("in.jsonl").write_text(json.dumps(line(1)))
    variables = {
        "URL": served.url, "MODEL_NAME": "headers", "INPUT_DATA_PATH": "in.jsonl", "OUTPUT_DATA_PATH": "out.jsonl",
        "REQUEST_HEADERS": "A: 1 B:2", "CONNECTION_TIMEOUT": "30", "WORKERS": "1",
    }  # fmt: skip
    done = mlserver("infer", **{f"MLSERVER_INFER_{name}": value for name, value in variables.items()})
    assert (done.returncode, done.stderr) == (0, "")
    headers = json.loads(json.loads(Path("out.jsonl").read_text())["outputs"][0]["data"][0])
    assert (headers["a"], headers["b"]) == ("1", "2")


def test_standard_input_and_output(served: Served) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mlserver", "infer", "-u", served.url, "-m", "double", "-i", "-", "-o", "-"],
        input=json.dumps(line(4)), env=os.environ, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["outputs"][0]["data"] == [8.0]
    assert done.stderr == ""


def test_binary_tensors(served: Served) -> None:
    if "binary_tensor_data" not in requests.get(f"{served.url}/v2", timeout=30).json()["extensions"]:
        pytest.skip("the server has no binary tensors")
    answers, _, status = ask(served, "double", [line(1, 2, id="a"), line(7), line(1.5, id="c")], "-b", "-r", "0")
    assert status == 1
    assert answers[0]["outputs"][0]["data"] == [2.0, 4.0]
    assert answers[1]["error"]["msg"] == "400: 7 is refused"
    assert answers[2]["outputs"][0]["data"] == [3.0]
    answers, _, status = ask(served, "headers", [line(1)], "-b")
    assert json.loads(answers[0]["outputs"][0]["data"][0])["inference-header-content-length"].isdecimal()


def test_a_bar_on_a_terminal(served: Served) -> None:
    Path("in.jsonl").write_text("\n".join(map(json.dumps, [line(1), line(7), line(2)])))
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    arguments = ["-u", served.url, "-m", "double", "-i", "in.jsonl", "-o", "-", "-v"]
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlserver", "infer", *arguments], stdout=subprocess.PIPE, stderr=theirs
        )
        os.close(theirs)
        out, _ = process.communicate(timeout=PATIENCE_SECONDS)
        shown = terminal.read(100_000).decode()
    assert len(out.splitlines()) == 3
    assert "| 3/3 [" in shown
    assert "INFO line 1: 400: 7 is refused" in shown


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["-i", "gone"], "Error: input_data_path: gone: No such file or directory"),
        (["-o", "in.jsonl"], "Error: output_data_path: in.jsonl is the input"),
        (["-o", "no/folder"], "Error: output_data_path: no/folder: No such file or directory"),
        (["-u", "http://:x"], "Error: url: expected host:port, got 'http://:x'"),
        (["-H", "no colon"], "Error: request header: expected 'Name: value', got 'no colon'"),
        (["-H", "Host: h"], "Error: request header Host: it is set by the client itself"),
        (["-H", "A: b\nC: d"], "Error: request header A: the value holds characters that no header may have"),
        (["-w", "0"], "Error: Invalid value for '-w' / '--workers': 0 is not in the range x>=1."),
        (["-t", "carrier-pigeon"], "Error: Invalid value for '-t' / '--transport'"),
    ],
)
def test_wrong_calls(options: list[str], line: str) -> None:
    Path("in.jsonl").touch()
    Path("out").write_text("as before")
    done = mlserver("infer", "-m", "m", "-i", "in.jsonl", "-o", "out", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith(line)
    assert Path("out").read_text() == "as before"


def test_needs_no_server_code() -> None:
    code = "import sys, mlserver.cli.infer, mlserver.batch_processing.rest\n"
    code += "print([name for name in sys.modules if name in ('mlserver.server', 'mlserver.rest', 'starlette', 'grpc')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
