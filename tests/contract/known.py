"""Requests that are answered; and those that are refused, each with the kind of error that every door gives."""

from dataclasses import replace

from tests.contract.questions import Input, Question

ONE = Input("x", "FP64", [1, 2], [1.0, 2.0])


def echo(*inputs: Input, **fields: object) -> Question:
    """A question to the model that answers everything."""
    return replace(Question("echo", list(inputs)), **fields)  # type: ignore[arg-type]


def raises(how: str) -> Question:
    """A question that the model has its own answer to."""
    return Question("raises", [ONE], parameters={"how": how})


GOOD: dict[str, Question] = {
    "rows": Question("sum", [Input("x", "FP32", [2, 2], [1.0, 2.0, 3.0, 5.0])]),
    "version": Question("versioned", [ONE], version="2"),
    "default version": Question("versioned", [ONE]),
    "words of the protocol": echo(ONE, parameters={"timeout": 60_000_000, "priority": 3, "own": "kept"}),
    "parameters": echo(ONE, parameters={"text": "\u00fc", "whole": -(2**63), "real": 0.5, "flag": False}),
    "classes": echo(ONE, outputs={"x": {"classification": 1}}),
    "one of two": echo(ONE, Input("y", "BYTES", [2, 1], ["", "z\u00fcrich"]), outputs={"y": {}}),
    "numbers for BOOL": echo(Input("x", "BOOL", [2], [1, 0])),
    "a text whose bytes its shape counts": echo(
        Input("x", "BYTES", [5], ["z\u00fcri"]), Input("y", "BYTES", [1, 2], ["ab"])
    ),
    "nothing": echo(Input("x", "INT16", [0, 3], []), Input("y", "BYTES", [0], [])),
    "a scalar": echo(Input("x", "UINT64", [], [2**64 - 1])),
}

BAD: dict[str, tuple[Question, str]] = {
    "no inputs": (echo(), "invalid"),
    "one name twice": (echo(ONE, ONE), "invalid"),
    "too few elements": (echo(replace(ONE, shape=[3, 2])), "invalid"),
    "too many elements": (echo(replace(ONE, shape=[1])), "invalid"),
    "elements of nothing": (echo(replace(ONE, shape=[0, 2])), "invalid"),
    "a negative dimension": (echo(replace(ONE, shape=[-1, 2])), "invalid"),
    "a shape beyond all memory": (echo(replace(ONE, shape=[2**62, 2**62])), "invalid"),
    "rows beyond all memory, of nothing": (echo(replace(ONE, shape=[2**40, 0], data=[])), "invalid"),
    "a dimension beyond all memory, of text": (echo(Input("x", "BYTES", [0, 2**40], [])), "invalid"),
    "65 dimensions": (echo(replace(ONE, shape=[1] * 64 + [2])), "invalid"),
    "an unknown datatype": (echo(replace(ONE, datatype="FP13")), "invalid"),
    "no datatype": (echo(replace(ONE, datatype="")), "invalid"),
    "text for numbers": (echo(replace(ONE, data=["a", "b"])), "invalid"),
    "text of another count": (echo(Input("x", "BYTES", [3], ["a", "b"])), "invalid"),
    "above the datatype": (echo(Input("x", "INT8", [1], [300])), "invalid"),
    "below the datatype": (echo(Input("x", "UINT16", [1], [-1])), "invalid"),
    "a timeout in words": (echo(ONE, parameters={"timeout": "soon"}), "invalid"),
    "a negative timeout": (echo(ONE, parameters={"timeout": -1}), "invalid"),
    "a priority in words": (echo(ONE, parameters={"priority": "high"}), "invalid"),
    "negative classes": (echo(ONE, outputs={"x": {"classification": -1}}), "invalid"),
    "classes of text": (echo(Input("x", "BYTES", [1], ["a"]), outputs={"x": {"classification": 1}}), "invalid"),
    "shared memory": (echo(replace(ONE, parameters={"shared_memory_region": "r"})), "invalid"),
    "shared memory of an output": (echo(ONE, outputs={"x": {"shared_memory_region": "r"}}), "invalid"),
    "an unknown model": (Question("none", [ONE]), "not_found"),
    "an unknown version": (Question("versioned", [ONE], version="7"), "not_found"),
    "a model for streams": (Question("count", [ONE]), "not_implemented"),
    "refused by the model": (raises("invalid"), "invalid"),
    "failed": (raises("model"), "model"),
    "busy": (raises("overloaded"), "overloaded"),
    "away": (raises("unavailable"), "unavailable"),
    "not implemented": (raises("not_implemented"), "not_implemented"),
    "forbidden by status": (raises("forbidden by status"), "forbidden"),
    "not found by status": (raises("not found by status"), "not_found"),
    "too late": (Question("never", [ONE], parameters={"timeout": 100_000}), "timeout"),
    "too large": (echo(Input("x", "FP64", [60_000], [0.5] * 60_000)), "too_large"),
}
