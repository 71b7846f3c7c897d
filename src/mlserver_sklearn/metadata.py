"""What an estimator knows of its inputs and outputs."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.base import ClusterMixin, OutlierMixin, RegressorMixin

from mlserver.codecs.numpy import to_datatype
from mlserver.types import Datatype, MetadataTensor

# The methods that may be asked for as outputs: those that answer row by row, and nothing else of the object.
OUTPUTS = ("predict", "predict_proba", "transform", "decision_function")


def inputs_of(model: Any) -> Iterator[MetadataTensor]:
    """A tensor per feature where the model knows their names, else one for all; text where encoders say so."""
    names = getattr(model, "feature_names_in_", None)
    count = getattr(model, "n_features_in_", None)
    if count is None:
        if _is_vectorizer(_first(model)):
            yield MetadataTensor(name="input-0", datatype=Datatype.BYTES, shape=[-1])
        return
    columns = list(range(count)) if names is None else [str(name) for name in names]
    texts = _texts(model, columns)
    if names is None:
        yield MetadataTensor(name="input-0", datatype=Datatype.BYTES if texts else Datatype.FP64, shape=[-1, count])
        return
    for name in columns:
        datatype = Datatype.BYTES if name in texts else Datatype.FP64
        yield MetadataTensor(name=str(name), datatype=datatype, shape=[-1, 1])


def outputs_of(model: Any) -> Iterator[MetadataTensor]:
    """A tensor for each method whose answer's form is known."""
    for name in OUTPUTS:
        found = _FORMS[name](model) if hasattr(model, name) else None
        if found is not None:
            datatype, shape = found
            yield MetadataTensor(name=name, datatype=datatype, shape=[-1, *shape])


_Form = tuple[Datatype, list[int]]


def _predict(model: Any) -> _Form | None:
    classes, final = getattr(model, "classes_", None), _last(model)
    if isinstance(classes, np.ndarray):
        return _datatype_of(classes), []
    if isinstance(classes, list) and classes:
        return _datatype_of(classes[0]), [len(classes)]
    if isinstance(final, RegressorMixin):
        targets = getattr(final, "n_outputs_", 1)
        return Datatype.FP64, [targets] if targets > 1 else []
    if isinstance(final, ClusterMixin) and hasattr(final, "labels_"):
        return _datatype_of(final.labels_), []
    return (Datatype.INT64, []) if isinstance(final, OutlierMixin) else None


def _predict_proba(model: Any) -> _Form | None:
    classes = getattr(model, "classes_", None)
    return (Datatype.FP64, [len(classes)]) if isinstance(classes, np.ndarray) else None


def _decision_function(model: Any) -> _Form | None:
    classes, final = getattr(model, "classes_", None), _last(model)
    if isinstance(final, OutlierMixin):
        return Datatype.FP64, []
    if not isinstance(classes, np.ndarray):
        return None
    count = len(classes)
    if count == 2:
        return Datatype.FP64, []
    return Datatype.FP64, [count * (count - 1) // 2 if _one_against_one(final) else count]


def _one_against_one(final: Any) -> bool:
    return getattr(final, "decision_function_shape", "ovr") == "ovo"


def _transform(model: Any) -> _Form:
    try:
        return Datatype.FP64, [len(model.get_feature_names_out())]
    except (AttributeError, TypeError, ValueError):
        return Datatype.FP64, [-1]


_FORMS = {
    "predict": _predict,
    "predict_proba": _predict_proba,
    "transform": _transform,
    "decision_function": _decision_function,
}


def _datatype_of(values: Any) -> Datatype:
    """The datatype in which such values are answered: labels may be numbers in an array of objects."""
    array = np.asarray(values)
    return to_datatype((np.asarray(array.tolist()) if array.dtype.kind == "O" else array).dtype)


def _first(model: Any) -> Any:
    """The estimator that sees the rows as they came: the first of pipelines within searches."""
    while True:
        if hasattr(model, "best_estimator_"):
            model = model.best_estimator_
        elif getattr(model, "steps", None):
            model = model.steps[0][1]
        else:
            return model


def _last(model: Any) -> Any:
    """The estimator that makes the answer: the last of pipelines within searches."""
    while True:
        if hasattr(model, "best_estimator_"):
            model = model.best_estimator_
        elif getattr(model, "steps", None):
            model = model.steps[-1][1]
        else:
            return model


def _is_vectorizer(step: Any) -> bool:
    return type(step).__module__ == "sklearn.feature_extraction.text"


def _texts(model: Any, columns: Sequence[Any]) -> set[Any]:
    """Those of `columns` that an encoder, an imputer or a vectorizer was fitted on text of."""
    step = _first(model)
    if _is_vectorizer(step):
        return set(columns)
    if hasattr(step, "transformers_"):
        parts = [(part, _chosen(spec, columns)) for _, part, spec in step.transformers_ if not isinstance(part, str)]
        return {column for part, chosen in parts for column in _texts(part, chosen)}
    fitted = getattr(step, "categories_", None)
    if fitted is None:
        statistics = getattr(step, "statistics_", None)
        fitted = [] if statistics is None else [np.asarray([value]) for value in statistics]
    return {column for column, values in zip(columns, fitted, strict=False) if _datatype_of(values) == Datatype.BYTES}


def _chosen(spec: Any, columns: Sequence[Any]) -> list[Any]:
    """The columns that a fitted ColumnTransformer gives one of its parts."""
    if isinstance(spec, str):
        return [spec]
    if isinstance(spec, list | np.ndarray | tuple) and len(spec) and isinstance(spec[0], str):
        return list(spec)
    numbers = np.arange(len(columns))[spec]
    return [columns[number] for number in np.atleast_1d(numbers)]
