"""Serves scikit-learn estimators and pipelines that were saved with joblib or pickle."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import joblib
import numpy as np
from sklearn.exceptions import InconsistentVersionWarning

from mlserver.codecs import NumpyCodec, NumpyRequestCodec
from mlserver.codecs.numpy import to_datatype
from mlserver.codecs.utils import content_type_of
from mlserver.errors import InferenceError, MLServerError
from mlserver.model import MLModel
from mlserver.types import (
    Datatype,
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataTensor,
    RequestOutput,
    ResponseOutput,
    TensorData,
)
from mlserver.types.base import construct
from mlserver.utils import get_model_uri

logger = logging.getLogger("mlserver")

WELLKNOWN_MODEL_FILENAMES = ["model.joblib", "model.pickle", "model.pkl"]

# The methods that may be asked for as outputs: those that answer row by row, and nothing else of the object.
OUTPUTS = ("predict", "predict_proba", "transform", "decision_function")


class SKLearnModel(MLModel):
    """An estimator, transformer or pipeline.

    Outputs are `predict`, `predict_proba`, `transform` and `decision_function`, as far as the model has them; without
    a choice it is `predict`, or what `parameters.extra.predict_fn` of the settings says. An output has the shape that
    the method returned and no parameters. Where the request, or the output's metadata in the settings, names a content
    type, a codec encodes it.
    """

    row_wise = True

    _model: Any

    async def load(self) -> bool:
        """Unpickle the model. Pickles run code as they load: only load files from a source you trust."""
        uri = await get_model_uri(self._settings, wellknown_filenames=WELLKNOWN_MODEL_FILENAMES)
        self._model = _unpickle(self.name, uri)
        self._method(self._default_output)
        return True

    async def metadata(self) -> MetadataModelResponse:
        """As in the settings; inputs and outputs that they leave out are told by the model where it knows them."""
        metadata = await super().metadata()
        model = getattr(self, "_model", None)
        metadata.inputs = metadata.inputs or list(_inputs_of(model))
        metadata.outputs = metadata.outputs or list(_outputs_of(model))
        return metadata

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer with the outputs asked for.

        Raises InferenceError for outputs the model does not have, and for input that scikit-learn refuses.
        """
        asked = payload.outputs or [construct(RequestOutput, {"name": self._default_output, "parameters": None})]
        methods = [self._method(output.name) for output in asked]
        rows = self.decode_request(payload, default_codec=NumpyRequestCodec)
        self._check_features(rows)
        outputs: list[ResponseOutput] = []
        for output, method in zip(asked, methods, strict=True):
            outputs += self._encoded(_call(method, rows), output, payload, alone=len(asked) == 1)
        return construct(
            InferenceResponse,
            {
                "model_name": self.name,
                "model_version": self.version,
                "id": payload.id,
                "parameters": None,
                "outputs": outputs,
            },
        )

    @property
    def _default_output(self) -> str:
        parameters = self._settings.parameters
        extra = parameters.extra if parameters is not None else None
        return str(extra.get("predict_fn", "predict")) if extra else "predict"

    def _method(self, name: str) -> Any:
        """The model's method for the output `name`."""
        method = getattr(self._model, name, None) if name in OUTPUTS else None
        if method is None:
            available = ", ".join(output for output in OUTPUTS if hasattr(self._model, output))
            raise InferenceError(f"model {self.name!r} has no output {name[:64]!r}; available: {available or 'none'}")
        return method

    def _check_features(self, rows: Any) -> None:
        expected = getattr(self._model, "n_features_in_", None)
        shape = getattr(rows, "shape", None)
        if expected is None or shape is None:
            return
        if len(shape) != 2 or shape[1] != expected:
            raise InferenceError(f"model {self.name!r} expects input of shape [rows, {expected}], got {list(shape)}")

    def _encoded(
        self, result: Any, output: RequestOutput, request: InferenceRequest, *, alone: bool
    ) -> Iterator[ResponseOutput]:
        """The outputs for what a method returned: one, or one for each column of a data frame."""
        described = self._outputs_index.get(output.name)
        by_codec = content_type_of(output) or content_type_of(request) or content_type_of(described)
        columns = _columns(result)
        if columns is not None and not alone:
            raise InferenceError(f"output {output.name!r} is a data frame and can only be asked for alone")
        for name, values in (columns or {output.name: result}).items():
            values = values.toarray() if hasattr(values, "toarray") else values
            if by_codec:
                wanted = construct(RequestOutput, {"name": name, "parameters": output.parameters})
                yield self.encode(values, wanted, default_codec=NumpyCodec)
            else:
                yield _plain(name, values)


def _unpickle(name: str, uri: str) -> Any:
    """Load the file; a scikit-learn of another version is worth one line of log, however many estimators say so."""
    if os.path.isdir(uri):
        raise MLServerError(f"model {name!r}: expected one of {', '.join(WELLKNOWN_MODEL_FILENAMES)} in {uri}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = joblib.load(uri)
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


def _call(method: Any, rows: Any) -> Any:
    """Call a method of the model; input that scikit-learn's own checks refuse is the caller's mistake."""
    try:
        return method(rows)
    except ValueError as error:
        if _refused_input(error.__traceback__):
            raise InferenceError(str(error)) from error
        raise


def _refused_input(traceback: TracebackType | None) -> bool:
    while traceback is not None:
        if traceback.tb_frame.f_globals.get("__name__") == "sklearn.utils.validation":
            return True
        traceback = traceback.tb_next
    return False


def _columns(result: Any) -> dict[str, Any] | None:
    """The columns of a data frame; None for anything else. pandas is optional, and made the frame if there is one."""
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(result, pandas.DataFrame):
        return None
    return {str(name): result[name].to_numpy() for name in result.columns}


def _plain(name: str, values: Any) -> ResponseOutput:
    """The output for an array in its own shape, without parameters."""
    array = np.asarray(values)
    if array.dtype.kind == "O":
        # Labels may be numbers in an array of objects.
        array = np.asarray(array.tolist())
    datatype = to_datatype(array.dtype)
    return construct(
        ResponseOutput,
        {
            "name": name,
            "shape": list(array.shape),
            "datatype": datatype.value,
            "parameters": None,
            "data": TensorData(array),
        },
    )


def _inputs_of(model: Any) -> Iterator[MetadataTensor]:
    features = getattr(model, "n_features_in_", None)
    if features is not None:
        yield MetadataTensor(name="input-0", datatype=Datatype.FP64, shape=[-1, features])


def _outputs_of(model: Any) -> Iterator[MetadataTensor]:
    classes = getattr(model, "classes_", None)
    if not isinstance(classes, np.ndarray):
        return
    yield MetadataTensor(name="predict", datatype=to_datatype(classes.dtype), shape=[-1])
    if hasattr(model, "predict_proba"):
        yield MetadataTensor(name="predict_proba", datatype=Datatype.FP64, shape=[-1, len(classes)])
