"""Runtime for LightGBM models."""

from mlserver_lightgbm.lightgbm import LightGBMModel

__all__ = ["LightGBMModel"]
