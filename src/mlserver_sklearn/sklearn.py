"""Serves scikit-learn estimators and pipelines that were saved with joblib or pickle."""

import logging
import warnings
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

import joblib
from sklearn.exceptions import InconsistentVersionWarning

from mlserver.errors import InferenceError, MLServerError
from mlserver.tabular import Features, TabularModel, model_file
from mlserver.types import MetadataTensor
from mlserver_sklearn.metadata import OUTPUTS, inputs_of, outputs_of

logger = logging.getLogger("mlserver")

WELLKNOWN_MODEL_FILENAMES = ["model.joblib", "model.pickle", "model.pkl"]

# Libraries whose estimators fit into scikit-learn's pipelines: what they refuse are the caller's rows, never their own.
_LIBRARIES = ("sklearn", "catboost", "imblearn", "lightgbm", "xgboost")
# Packages that those hand the rows to: an error from within is about the rows.
_BELOW = ("numpy", "pandas", "scipy", "joblib", "threadpoolctl", "narwhals")


class SKLearnModel(TabularModel):
    """An estimator, transformer or pipeline.

    Outputs are `predict`, `predict_proba`, `transform` and `decision_function`, as far as the model has them; without
    a choice it is `predict`, or what `parameters.extra.predict_fn` of the settings says. A model that was fitted on a
    data frame gets one, its columns matched by name.
    """

    _model: Any

    async def load(self) -> bool:
        """Unpickle the model. Pickles run code as they load: only load files from a source you trust.

        Raises MLServerError where that fails.
        """
        self._model = _unpickle(self.name, await model_file(self._settings, WELLKNOWN_MODEL_FILENAMES))
        names = getattr(self._model, "feature_names_in_", None)
        self.features = Features(getattr(self._model, "n_features_in_", None), names, framed=True)
        self.method(self.default_output)
        return True

    @property
    def default_output(self) -> str:
        """`predict`, or what the settings say."""
        parameters = self._settings.parameters
        extra = parameters.extra if parameters is not None else None
        return str(extra.get("predict_fn", "predict")) if extra else "predict"

    def method(self, name: str) -> Any:
        """The model's method for the output `name`."""
        method = getattr(self._model, name, None) if name in OUTPUTS else None
        if method is None:
            available = ", ".join(output for output in OUTPUTS if hasattr(self._model, output))
            raise InferenceError(f"model {self.name!r} has no output {name[:64]!r}; available: {available or 'none'}")
        return method

    def call(self, method: Callable[[Any], Any], rows: Any) -> Any:
        """Call a method of the model; input that scikit-learn refuses is the caller's mistake."""
        try:
            return method(rows)
        except (TypeError, ValueError) as error:
            if _refused_input(error.__traceback__):
                # XGBoost's errors have a stack trace of C++ below.
                raise InferenceError(str(error).partition("\nStack trace:")[0]) from error
            raise

    def inputs_of_model(self) -> Iterable[MetadataTensor]:
        """A tensor for each feature that has a name, else one for all."""
        return inputs_of(self._model)

    def outputs_of_model(self) -> Iterable[MetadataTensor]:
        """A tensor for each method that the model has."""
        return outputs_of(self._model)


def _unpickle(name: str, uri: str) -> Any:
    """Load the file; a scikit-learn of another version is worth one line of log, however many estimators say so."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = joblib.load(uri)
        except Exception as error:
            # Code of whoever made the file, and of what it imports.
            reason = f"{type(error).__name__}: {error}"
            raise MLServerError(f"model {name!r}: {uri} cannot be unpickled: {reason}") from error
    differing = [each for each in caught if issubclass(each.category, InconsistentVersionWarning)]
    if differing:
        found: Any = differing[0].message
        logger.warning(
            "model %r was saved by scikit-learn %s and runs on %s: its predictions may differ",
            name,
            found.original_sklearn_version,
            found.current_sklearn_version,
        )
    for each in caught:
        if each not in differing:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    return model


def _refused_input(traceback: TracebackType | None) -> bool:
    """Whether such a library itself raised, or what it calls below: not a model's own code."""
    refused = False
    while traceback is not None:
        package = str(traceback.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in _BELOW:
            refused = package in _LIBRARIES
        traceback = traceback.tb_next
    return refused
