"""Clients that nobody here wrote, unchanged, against one server."""

from typing import Any

import pytest

from tests.clients.expected import OWN, expected
from tests.clients.page import PAGE, page


@pytest.mark.parametrize("client", OWN)
def test_every_check_finds_what_it_should(results: dict[str, Any], client: str) -> None:
    found = results[client]
    assert found == {
        capability: {check: expected(client, capability, check) for check in checks}
        for capability, checks in found.items()
    }


def test_no_client_is_left_out(results: dict[str, Any]) -> None:
    assert set(results) == set(OWN)


def test_nothing_is_expected_in_vain(results: dict[str, Any]) -> None:
    for client, capabilities in OWN.items():
        for capability, checks in capabilities.items():
            assert set(checks) <= set(results[client][capability]), (client, capability)


def test_the_page_is_current(results: dict[str, Any]) -> None:
    assert PAGE.read_text() == page(results), "run: python -m tests.clients.page"
