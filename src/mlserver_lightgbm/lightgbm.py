"""Serves LightGBM models that were saved as text with `Booster.save_model`."""

import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import lightgbm
import numpy as np

from mlserver.errors import InferenceError, MLServerError
from mlserver.tabular import Features, TabularModel, feature_tensors, model_file, numbers_of, thread_count
from mlserver.types import Datatype, MetadataTensor
from mlserver.types.tensors import Array

WELLKNOWN_MODEL_FILENAMES = ["model.bst", "model.txt"]

# What LightGBM calls features whose names nobody told it.
_UNNAMED = re.compile(r"Column_\d+")


class LightGBMModel(TabularModel):
    """A Booster. The output is always `predict`, whatever is asked for: what the Booster's objective gives."""

    _model: lightgbm.Booster

    async def load(self) -> bool:
        """Read the model. Raises MLServerError where the file is none."""
        lightgbm.register_logger(logging.getLogger("mlserver.lightgbm"))
        self._model = _booster(self.name, await model_file(self._settings, WELLKNOWN_MODEL_FILENAMES))
        names = self._model.feature_name()
        unnamed = all(map(_UNNAMED.fullmatch, names))
        self.features = Features(self._model.num_feature(), None if unnamed else names)
        threads = thread_count()
        self._options: dict[str, Any] = {} if threads is None else {"num_threads": threads}
        return True

    def method(self, name: str) -> Callable[[Array], Array]:
        """The Booster's `predict`."""
        return self._predict

    def call(self, method: Callable[[Any], Any], rows: Any) -> Any:
        """Call it with the rows as numbers; rows that LightGBM refuses are the caller's mistake."""
        array = numbers_of(rows)
        try:
            return method(array)
        except (lightgbm.basic.LightGBMError, TypeError, ValueError) as error:
            raise InferenceError(str(error)) from error

    def inputs_of_model(self) -> Iterator[MetadataTensor]:
        """A tensor for each feature that has a name, else one for all."""
        yield from feature_tensors(self.features, Datatype.FP64)

    def outputs_of_model(self) -> Iterator[MetadataTensor]:
        """`predict`: `[rows]`, or `[rows, classes]`."""
        width = self._model.num_model_per_iteration()
        yield MetadataTensor(name="predict", datatype=Datatype.FP64, shape=[-1, width] if width > 1 else [-1])

    def _predict(self, rows: Array) -> Array:
        scores: Any = self._model.predict(rows, **self._options)
        return np.asarray(scores)


def _booster(name: str, uri: str) -> lightgbm.Booster:
    try:
        return lightgbm.Booster(model_file=uri)
    except (lightgbm.basic.LightGBMError, TypeError, ValueError) as error:
        raise MLServerError(f"model {name!r}: {uri} is no model of LightGBM's: {error}") from error
