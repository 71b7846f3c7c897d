"""What the server does with tensors that it passes on."""

import pytest

from mlserver.types.tensors import OutputRequest, Tensor, TensorResponse


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        (None, ["a", "b", "c"]),
        ([], ["a", "b", "c"]),
        (["b"], ["b"]),
        (["c", "a"], ["c", "a"]),
        (["c", "b", "a"], ["a", "b", "c"]),
        (["other"], ["a", "b", "c"]),
        (["a", "other"], ["a", "b", "c"]),
    ],
)
def test_outputs_that_were_asked_for_are_kept(asked: list[str] | None, kept: list[str]) -> None:
    outputs = [Tensor(name, "BYTES", [0], []) for name in "abc"]
    response = TensorResponse("m", None, outputs)
    response.keep(None if asked is None else [OutputRequest(name) for name in asked])
    assert [output.name for output in response.outputs] == kept
