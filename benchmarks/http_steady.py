"""HTTP load beside another: so many requests a second on one connection, until standard input ends.

`python -m benchmarks.http_steady --case kafka-beside --folder F --port P --rate 50` prints {"p50_ms": ..., "p99_ms":
...} as JSON. A request's time counts from when it was due, so that one that is late for another's slowness shows it.
"""

import argparse
import gc
import http.client
import json
import select
import sys
import time
from pathlib import Path

from benchmarks.cases import Case, case_named, questions
from benchmarks.figures import percentile


def ask_steadily(case: Case, folder: Path, port: int, rate: float) -> list[float]:
    """Milliseconds of each request, at least one, in ascending order. Raises WrongAnswerError, OSError."""
    question = questions(case, folder)[0]
    body = question.body("steady")
    path = f"/v2/models/{case.model.name}/infer"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    milliseconds: list[float] = []
    begun = time.monotonic()
    due, ended = begun, False
    while not ended:
        connection.request("POST", path, body)
        question.check(connection.getresponse().read(), "steady")
        milliseconds.append((time.monotonic() - due) * 1_000)
        due = begun + len(milliseconds) / rate
        ended = _ended(due)
    connection.close()
    return sorted(milliseconds)


def _ended(due: float) -> bool:
    """Wait until `due`; whether standard input has ended by then."""
    ready, _, _ = select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))
    return bool(ready)


def main() -> None:
    """Ask until nobody wants to know any more, then say what was found."""
    parser = argparse.ArgumentParser(description="steady HTTP load on one case")
    parser.add_argument("--case", required=True, type=case_named)
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--rate", required=True, type=float)
    args = parser.parse_args()
    gc.disable()
    found = ask_steadily(args.case, args.folder, args.port, args.rate)
    print(json.dumps({"p50_ms": percentile(found, 0.5), "p99_ms": percentile(found, 0.99)}))


if __name__ == "__main__":
    main()
