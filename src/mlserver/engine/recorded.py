"""What models recorded in a worker, as far as it can be true."""

from collections.abc import Callable, Container

from mlserver.engine.frames import ProtocolError
from mlserver.engine.words import Recorded
from mlserver.metrics import check, merge

Models = Callable[[], Container[tuple[str, str]]]
"""Names and versions ("" for none) of models."""


def no_models() -> Container[tuple[str, str]]:
    """None."""
    return ()


def merge_recorded(word: Recorded, models: Container[tuple[str, str]]) -> None:
    """Add what `models` have recorded in a worker. Raises ProtocolError for what no model can have.

    Of others nothing is taken, so that labels are those of models.
    """
    deltas = [list(delta) for delta in word.deltas if (delta[2], delta[3]) in models]
    try:
        check(deltas)
    except ValueError as error:
        raise ProtocolError(f"what models recorded: {error}") from None
    merge(deltas)
