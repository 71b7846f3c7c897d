"""Runtime for XGBoost models."""

from mlserver_xgboost.xgboost import XGBoostModel

__all__ = ["XGBoostModel"]
