"""What is on disk: folders of models, and the settings in them."""

from mlserver.repository.factory import build_repository
from mlserver.repository.repository import ModelRepository, Problem, Scan
from mlserver.repository.schemaless import DEFAULT_MODEL_SETTINGS_FILENAME, SchemalessModelRepository

__all__ = [
    "DEFAULT_MODEL_SETTINGS_FILENAME",
    "ModelRepository",
    "Problem",
    "Scan",
    "SchemalessModelRepository",
    "build_repository",
]
