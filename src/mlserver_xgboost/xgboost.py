"""Serves XGBoost models that were saved with `save_model`, by a Booster or by one of the scikit-learn classes."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from mlserver.errors import InferenceError, MLServerError
from mlserver.tabular import Features, TabularModel, feature_tensors, model_file, numbers_of, thread_count
from mlserver.types import Datatype, MetadataTensor
from mlserver.types.tensors import Array

WELLKNOWN_MODEL_FILENAMES = ["model.bst", "model.json", "model.ubj"]


class XGBoostModel(TabularModel):
    """A Booster, an XGBClassifier, an XGBRegressor or an XGBRanker, as their `save_model` wrote it.

    `predict` answers as the object that was saved would: labels of an XGBClassifier, else what the objective gives. An
    XGBClassifier has `predict_proba` too. Missing values are NaN.
    """

    _model: xgboost.Booster

    async def load(self) -> bool:
        """Read the model. Raises MLServerError where the file is none."""
        self._model = _booster(self.name, await model_file(self._settings, WELLKNOWN_MODEL_FILENAMES))
        self._form = _Form(self._model)
        self.features = Features(self._model.num_features(), self._model.feature_names)
        return True

    def method(self, name: str) -> Callable[[Array], Array]:
        """The function that makes the output `name`."""
        form = self._form
        methods = {"predict": self._labels if form.classifies else self._scores}
        if form.classifies:
            methods["predict_proba"] = self._probabilities
        if name not in methods:
            available = ", ".join(methods)
            raise InferenceError(f"model {self.name!r} has no output {name[:64]!r}; available: {available}")
        return methods[name]

    def call(self, method: Callable[[Any], Any], rows: Any) -> Any:
        """Call one of them with the rows as numbers; rows that XGBoost refuses are the caller's mistake."""
        array = numbers_of(rows)
        try:
            return method(array if array.dtype.kind == "f" and array.itemsize >= 4 else array.astype("f4"))
        except ValueError as error:
            raise InferenceError(_first_line(error)) from error

    def inputs_of_model(self) -> Iterator[MetadataTensor]:
        """A tensor for each feature that has a name, else one for all."""
        yield from feature_tensors(self.features, Datatype.FP32)

    def outputs_of_model(self) -> Iterator[MetadataTensor]:
        """`predict`, and for a classifier `predict_proba`."""
        form = self._form
        if not form.classifies:
            yield MetadataTensor(name="predict", datatype=Datatype.FP32, shape=[-1, *form.widths])
            return
        labels = [] if form.argmax else form.widths
        yield MetadataTensor(name="predict", datatype=Datatype.INT64, shape=[-1, *labels])
        yield MetadataTensor(name="predict_proba", datatype=Datatype.FP32, shape=[-1, *(form.widths or [2])])

    def _scores(self, rows: Array) -> Array:
        """What the objective gives: `[rows]`, or `[rows, classes or targets]`."""
        form = self._form
        if form.in_place:
            scores: Array = self._model.inplace_predict(rows, iteration_range=form.iterations)
        else:
            # Feature names were seen to; an array has none.
            matrix = xgboost.DMatrix(rows)
            scores = self._model.predict(matrix, iteration_range=form.iterations, validate_features=False)
        return scores

    def _labels(self, rows: Array) -> Array:
        scores = self._scores(rows)
        labels: Array = scores.argmax(axis=1) if self._form.argmax else (scores > 0.5).astype(np.int64)
        return labels

    def _probabilities(self, rows: Array) -> Array:
        scores = self._scores(rows)
        return np.stack((1 - scores, scores), axis=1) if scores.ndim == 1 else scores


class _Form:
    """What a saved model says of itself."""

    def __init__(self, model: xgboost.Booster) -> None:
        learner = json.loads(model.save_config())["learner"]
        sizes = learner["learner_model_param"]
        saved_by = json.loads(model.attr("scikit_learn") or "{}")
        best = model.attr("best_iteration")
        self.classifies = saved_by.get("_estimator_type") == "classifier"
        self.argmax = learner["objective"]["name"] == "multi:softprob"
        # Linear models know neither the best iteration nor prediction without a matrix of their own.
        self.in_place = learner["gradient_booster"]["name"] != "gblinear"
        self.iterations = (0, int(best) + 1) if best is not None and self.in_place else (0, 0)
        width = max(int(sizes["num_class"]) if self.argmax else 0, int(sizes.get("num_target", 1)))
        self.widths = [width] if width > 1 else []


def _booster(name: str, uri: str) -> xgboost.Booster:
    try:
        # Read here: by itself XGBoost takes a `.bst` for UBJSON, whatever is in it.
        content = bytearray(Path(uri).read_bytes())
        if not content:
            # XGBoost would end the process.
            raise ValueError("it is empty")
        model = xgboost.Booster(model_file=content)
    except (OSError, ValueError, TypeError) as error:
        raise MLServerError(f"model {name!r}: {uri} is no model of XGBoost's: {_first_line(error)}") from error
    threads = thread_count()
    if threads is not None:
        model.set_param({"nthread": threads})
    return model


def _first_line(error: Exception) -> str:
    """XGBoost's errors have a stack trace below."""
    return str(error).partition("\n")[0]
