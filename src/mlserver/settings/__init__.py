"""Settings of the server and of its models: from code, `settings.json`, `model-settings.json`, the environment, `.env`.

What comes first wins: constructor or JSON file, environment, `.env` in the working directory, default. Objects that
two of them give (`parameters`, `kafka_config`) are merged key by key. Names are case-insensitive; in the environment
they carry the prefix ``MLSERVER_`` or, for a model, ``MLSERVER_MODEL_``, and lists and objects are written as JSON.
"""

from mlserver.settings.files import (
    load_model_settings_env,
    load_model_settings_file,
    load_settings_env,
    load_settings_file,
)
from mlserver.settings.model import ModelParameters, ModelSettings
from mlserver.settings.server import CORSSettings, Settings

__all__ = [
    "CORSSettings",
    "ModelParameters",
    "ModelSettings",
    "Settings",
    "load_model_settings_env",
    "load_model_settings_file",
    "load_settings_env",
    "load_settings_file",
]
