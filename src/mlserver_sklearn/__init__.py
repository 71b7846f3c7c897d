"""Runtime for scikit-learn models and pipelines."""

from mlserver_sklearn.sklearn import SKLearnModel

__all__ = ["SKLearnModel"]
