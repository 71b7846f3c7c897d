"""What each script is made of: checks by capability, each a function whose result is JSON. Needs no package."""

import json
from collections.abc import Callable
from typing import Any

Check = Callable[..., Any]


class Checks:
    """The checks of a client, in the order in which they were written."""

    def __init__(self) -> None:
        self._checks: list[tuple[str, Check]] = []

    def __call__(self, capability: str) -> Callable[[Check], Check]:
        """Enter a function under its name."""

        def enter(check: Check) -> Check:
            self._checks.append((capability, check))
            return check

        return enter

    def run(self, *arguments: Any) -> dict[str, dict[str, Any]]:
        """Capability -> check -> result, or what it raised: that is a result that no test expects."""
        results: dict[str, dict[str, Any]] = {}
        for capability, check in self._checks:
            results.setdefault(capability, {})[check.__name__] = _result(check, arguments)
        return results


def _result(check: Check, arguments: tuple[Any, ...]) -> Any:
    try:
        return check(*arguments)
    except Exception as error:
        return {"unexpected": f"{type(error).__name__}: {error}"}


def raised(call: Callable[[], Any], tell: Callable[[Any], Any] = str) -> Any:
    """The class of what `call` raises, and what `tell` makes of it."""
    try:
        result = call()
    except Exception as error:
        return [type(error).__name__, tell(error)]
    return {"raised nothing": str(result)}


def report(results: dict[str, dict[str, dict[str, Any]]]) -> None:
    """Print client -> capability -> check -> result, as the last line."""
    print(json.dumps(results))  # noqa: T201 - a test reads it
