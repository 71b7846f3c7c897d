"""What is done to the doors elsewhere, done again while others ask both of them: nobody else notices.

The attacks are tests of the doors, with all the cases that those have, against one server with its models in a worker.
"""

import contextlib
import inspect
import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from mlserver import Settings
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
from tests.faults.canary import Canary, GrpcCanary
from tests.faults.sampler import Sample, sample
from tests.faults.serving import ready
from tests.grpc import test_calls, test_connections, test_errors, test_malformed
from tests.grpc.client import Door, refusal, typed_request
from tests.grpc.conftest import port_of
from tests.rest import test_binary, test_compression, test_deadlines, test_sizes, test_smuggling, test_statuses
from tests.rest import test_connections as test_http
from tests.rest.conftest import LARGE, WELL, free_port, make_folder, serve
from tests.rest.raw import Raw, get, inference, post
from tests.rest.test_metrics import Series, scraped
from tests.seed.serving import Served
from tests.waiting import wait_until

# Generous, for a machine that does other things too: they tell a server that answers from one that is held up.
P99_SECONDS = 5.0
GROWTH_BYTES = 128 * 2**20
DESCRIPTORS = 8
IDLE = 400
UNKNOWN = 10_000
FORGED = "x\r\n2026-01-01 [mlserver] INFO - forged\x1b[2J"

Attack = Callable[["Attacked"], None]


@dataclass(frozen=True)
class Attacked:
    """The server, where its metrics are, and what it took before the first attack."""

    server: Served
    metrics_port: int
    before: Sample

    @property
    def target(self) -> str:
        """Where gRPC answers."""
        return f"127.0.0.1:{port_of(self.server)}"

    @contextlib.contextmanager
    def asked(self) -> Iterator[tuple[Canary, GrpcCanary]]:
        """Others ask meanwhile, over REST and over gRPC."""
        rest = Canary(f"{self.server.url}/v2/models/sum/infer", inference(1, 2))
        with rest, GrpcCanary(self.target, typed_request("sum", 1, 2)) as rpc:
            yield rest, rpc

    def failures(self) -> Series:
        """Answers so far that say that the server itself is to blame."""
        bad = {"status_code": "5", "grpc_code": "UNKNOWN"}
        return {
            (name, labels): value
            for (name, labels), value in scraped(self.metrics_port).items()
            if any(str(dict(labels).get(label, "")).startswith(begin) for label, begin in bad.items())
        }


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    """A server with as many workers as by default that gives callers little time, and has answered some requests."""
    models = {name: WELL[name] for name in ("sum", "echo", "gate", "large", "raiser")}
    settings: dict[str, Any] = {
        "parallel_workers": Settings().parallel_workers,
        "max_body_bytes": LARGE,
        "header_timeout_seconds": 0.5,
        "body_timeout_seconds": 0.8,
        "idle_timeout_seconds": 1.2,
        "metrics_endpoint": "/metrics",
        "metrics_port": free_port(),
    }
    with serve(make_folder(tmp_path_factory.mktemp("doors"), models, **settings)) as server:
        fresh = Attacked(server, settings["metrics_port"], sample(server.pid))
        with fresh.asked() as canaries:
            for canary in canaries:
                canary.wait_for(5)
        yield Attacked(server, settings["metrics_port"], sample(server.pid))
        server.stop()
        assert server.stderr == ""
        for word in ("unexpected failure", "never retrieved", "never awaited", "Task was destroyed"):
            assert word not in server.log


def cases_of(*tests: Any) -> Attack:
    """These tests with all their cases, one after the other."""

    def attack(on: Attacked) -> None:
        for one in tests:
            for case in _cases(one):
                with ExitStack() as closing:
                    names = [name for name in inspect.signature(one).parameters if name not in case]
                    one(**case, **{name: _FIXTURES[name](on, closing) for name in names})

    return attack


def _cases(test: Any) -> Iterator[dict[str, Any]]:
    """The arguments that a test is parametrized with."""
    marks = [mark for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
    choices = []
    for mark in marks:
        names, values = mark.args
        several = [names] if isinstance(names, str) else names
        choices.append(
            [dict(zip(several, [value] if isinstance(names, str) else value, strict=True)) for value in values]
        )
    for chosen in itertools.product(*choices):
        yield {name: value for case in chosen for name, value in case.items()}


def _connect(on: Attacked, closing: ExitStack) -> Callable[..., grpc.Channel]:
    return lambda **options: closing.enter_context(grpc.insecure_channel(on.target, **options))


def _wire(on: Attacked, closing: ExitStack) -> Any:
    return closing.enter_context(test_connections.connected(on.server))


_FIXTURES: dict[str, Callable[[Attacked, ExitStack], Any]] = {
    "served": lambda on, _: on.server,
    "hasty": lambda on, _: on.server,
    "connect": _connect,
    "channel": lambda on, closing: _connect(on, closing)(),
    "stub": lambda on, closing: GRPCInferenceServiceStub(_connect(on, closing)()),
    "door": lambda on, closing: Door(GRPCInferenceServiceStub(_connect(on, closing)())),
    "wire": _wire,
}
"""What the tests of the doors ask pytest for."""


def many_idle(on: Attacked) -> None:
    """Connections on which nothing comes, and others on which a head begins."""
    with test_deadlines.connected(on.server, IDLE) as callers:
        for caller in callers[::2]:
            caller.sendall(test_deadlines.HEAD)
        test_deadlines.seconds_until_closed(on.server, callers)


def unknown_names(on: Attacked) -> None:
    """Names that nobody has, no two alike: none of them becomes a label, or a line of the log."""
    before = scraped(on.metrics_port).keys()
    hostile = "".join(f"%{byte:02x}" for byte in FORGED.encode())
    with Raw(on.server.port) as raw, grpc.insecure_channel(on.target) as channel:
        stub: Any = GRPCInferenceServiceStub(channel)
        for start in range(0, UNKNOWN, 100):
            paths = [f"/v2/models/{hostile}{number}" for number in range(start, start + 100)]
            raw.send(
                b"".join(post(f"{path}/infer", inference(1)) for path in paths[:50]) + b"".join(map(get, paths[50:]))
            )
            assert [raw.answer().status for _ in paths] == [404] * 100
            assert refusal(stub.ModelInfer, typed_request(f"{FORGED}{start}")).code == "NOT_FOUND"
    new = scraped(on.metrics_port).keys() - before
    assert [key for key in new if "forged" in str(key)] == []
    assert len(new) < 100  # what is counted for the first time: buckets of 404 at each of the routes
    assert not [line for line in on.server.lines if line.startswith("2026-01-01 [mlserver]") or "\x1b" in line]


ATTACKS: dict[str, Attack] = {
    "B1 slow heads": cases_of(
        test_deadlines.test_heads_that_do_not_end, test_deadlines.test_a_head_that_is_late_is_told_so
    ),
    "B2 slow bodies": cases_of(test_deadlines.test_bodies_that_do_not_end),
    "B2 slow readers": cases_of(test_deadlines.test_readers_that_do_not_read),
    "B3 idle": many_idle,
    "B5 oversize": cases_of(
        test_sizes.test_a_length_that_is_too_large_is_refused_before_the_body,
        test_sizes.test_chunks_without_end,
        test_sizes.test_chunks_of_a_byte_up_to_the_bound,
    ),
    "B6 bombs": cases_of(test_compression.test_a_bomb, test_statuses.test_415),
    "B7 JSON": cases_of(test_sizes.test_json_that_is_meant_to_hurt),
    "B9 smuggling": cases_of(test_smuggling.test_it_is_the_last_request_of_its_connection),
    "B10 pipelines": cases_of(
        test_http.test_a_hundred_requests_at_once_are_answered_in_order,
        test_smuggling.test_nothing_is_answered_after_a_refusal,
        test_sizes.test_a_caller_that_sends_ahead_and_never_reads_is_not_read_for_ever,
    ),
    "B11 heads": cases_of(
        test_sizes.test_431,
        test_statuses.test_405_names_what_is_allowed,
        test_http.test_expect_continue,
        test_http.test_an_upgrade_is_ignored_and_the_body_read,
    ),
    "C1 shapes": cases_of(
        test_statuses.test_400_says_where_and_what_was_expected,
        test_errors.test_a_request_that_cannot_be_understood,
    ),
    "C2 sizes": cases_of(test_binary.test_lengths_that_cannot_be, test_binary.test_sizes_that_disagree),
    "C4 protobuf": cases_of(
        test_malformed.test_damaged_messages,
        test_malformed.test_groups_in_groups_and_lengths_that_lie,
        test_errors.test_a_small_message_that_inflates_to_a_large_one,
    ),
    "C5 calls": cases_of(
        test_calls.test_a_thousand_calls_begun_and_given_up,
        test_connections.test_a_connection_takes_a_hundred_calls_at_once,
        test_connections.test_a_flood_of_calls_that_are_begun_and_reset,
        test_connections.test_a_flood_of_pings_ends_the_connection,
        test_connections.test_headers_without_end,
        test_connections.test_half_of_a_call,
    ),
    "D11 names": unknown_names,
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_nobody_else_notices(attacked: Attacked, attack: Attack, tell: Callable[[str], None]) -> None:
    failures = attacked.failures()
    with attacked.asked() as canaries:
        for canary in canaries:
            canary.wait_for(2)
        attack(attacked)
        for canary in canaries:
            canary.wait_for(10)
    for canary in canaries:
        canary.assert_healthy(p99_seconds=P99_SECONDS)
    assert attacked.failures() == failures
    before, server = attacked.before, attacked.server
    wait_until(lambda: sample(server.pid).descriptors <= before.descriptors + DESCRIPTORS)
    grown = sample(server.pid).rss_bytes - before.rss_bytes
    asked = ", ".join(f"{canary.percentile(0.99):.2f} s of {len(canary.seconds)}" for canary in canaries)
    tell(f"p99 of the others {asked}; {grown / 2**20:+.0f} MiB")
    assert grown < GROWTH_BYTES
    assert ready(server)
