"""One line out of a pydantic ValidationError: which key, what was expected, what was found."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mlserver.settings.shown import shown_value

# What each kind of pydantic error says about what was expected; `{}` takes the error's context.
EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "int_parsing": "an integer",
    "int_parsing_size": "an integer",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a string",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "less_than": "less than {lt:g}",
    "less_than_equal": "{le:g} or less",
    "string_too_short": "a string of {min_length} or more characters",
    "too_short": "{min_length} or more characters",
}

Loc = tuple[int | str, ...]
Where = Callable[[Loc], str]


def line_of(error: ValidationError, given: Mapping[str, Any], where: Where, secret: Sequence[str] = ()) -> str:
    """What is wrong, in one line.

    `given` holds the values that were validated, `where` names the origin of a key (a file, a variable), and values
    of keys in `secret` are not shown.
    """
    by_key: dict[Loc, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        by_key.setdefault(real_loc(detail["loc"], given), []).append(detail)
    key, *others = by_key
    line = f"{where(key)}: {problem(by_key[key], hide=str(key[0]) in secret if key else False)}"
    return line if not others else f"{line} (also wrong: {', '.join(dotted(other) for other in others)})"


def real_loc(loc: Loc, given: Any) -> Loc:
    """`loc` without the parts that name no key: those that tell the branches of a union apart."""
    for depth, part in enumerate(loc):
        inside = isinstance(given, dict) if isinstance(part, str) else isinstance(given, list)
        if depth and not inside:
            return loc[:depth]
        given = _child(given, part)
    return loc


def _child(given: Any, part: int | str) -> Any:
    """What `given` has at the key or index `part`; an empty object where it has nothing there."""
    if isinstance(given, dict):
        return given.get(part, {})
    return given[part] if isinstance(given, list) and isinstance(part, int) else {}


def dotted(loc: Loc) -> str:
    """`('inputs', 0, 'name')` as `inputs.0.name`."""
    return ".".join(map(str, loc))


def problem(details: list[ErrorDetails], hide: bool = False) -> str:
    """What was expected and what was found, for the errors of one key."""
    first = details[0]
    if first["type"] == "missing":
        return "missing"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    expected = [
        EXPECTED[detail["type"]].format(**detail.get("ctx", {})) for detail in details if detail["type"] in EXPECTED
    ]
    if not expected:
        return first["msg"]
    found = f"a value of type {type(first['input']).__name__}" if hide else shown_value(first["input"])
    return f"expected {' or '.join(dict.fromkeys(expected))}, got {found}"
