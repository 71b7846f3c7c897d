"""Settings of one model: `model-settings.json` and ``MLSERVER_MODEL_*``."""

import re
import uuid
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, PrivateAttr, field_validator, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic_settings import SettingsConfigDict

from mlserver.settings.base import BaseSettings
from mlserver.settings.implementation import import_implementation, import_path_of
from mlserver.types import MetadataTensor

# Names stand in URLs, topics, metrics and log lines. Nothing that a path, a shell or a URL gives a meaning to may be in
# one, and a name never becomes part of a path.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
NAME_RULE = "1 to 128 letters, digits, '.', '_' or '-', the first a letter or digit, without '..'"


def is_name(text: str) -> bool:
    """Whether `text` may be the name or the version of a model."""
    return NAME.fullmatch(text) is not None and ".." not in text


def checked(text: str) -> str:
    """`text`, if it is empty or a name. Raises ValueError."""
    if text and not is_name(text):
        raise ValueError(f"expected {NAME_RULE}, got {text[:140]!r}")
    return text


Name = Annotated[str, AfterValidator(checked)]


class ModelParameters(BaseSettings):
    """What a runtime needs to find and run its model. Keys that are not listed here stay, as attributes."""

    model_config = SettingsConfigDict(env_prefix="MLSERVER_MODEL_", extra="allow")

    uri: str | None = Field(
        None,
        description="File or folder of the model, relative to its `model-settings.json`; null: that file's folder.",
    )
    version: Name | None = Field(None, description=f"Version of the model: {NAME_RULE}; null: unversioned.")
    environment_path: str | None = Field(None, description="Folder of a Python environment to run the model in.")
    environment_tarball: str | None = Field(None, description="Archive of a Python environment to run the model in.")
    inference_pool_gid: str | None = Field(None, description="Models with the same identifier share their workers.")
    autogenerate_inference_pool_gid: bool = Field(False, description="Give the model workers of its own.")
    format: str | None = Field(None, description="Format of the model's file, for runtimes that know several.")
    content_type: str | None = Field(None, description="Content type of requests that name none.")
    extra: dict[str, Any] | None = Field({}, description="Whatever else the runtime takes.")

    @field_validator("version")
    @classmethod
    def _empty_is_unversioned(cls, value: str | None) -> str | None:
        """The environment has no null, so that an empty text stands for it."""
        return value or None

    @model_validator(mode="after")
    def _generate_gid(self) -> Self:
        if self.autogenerate_inference_pool_gid and self.inference_pool_gid is None:
            self.inference_pool_gid = str(uuid.uuid4())
        return self


class ModelSettings(BaseSettings):
    """Settings of one model. Every one may stand in `model-settings.json` or, with the prefix ``MLSERVER_MODEL_``, in
    the environment; times are in seconds and sizes in bytes unless the description says otherwise.
    """

    model_config = SettingsConfigDict(env_prefix="MLSERVER_MODEL_")

    name: Name = Field("", description=f"Name of the model: {NAME_RULE}; empty: the name of its folder.")
    implementation_: str = Field(
        alias="implementation", description="Import path of the class that runs the model; in code, the class itself."
    )
    platform: str = Field("", description="Framework of the model, for its metadata.")
    versions: list[str] = Field([], description="Versions of what the model depends on, for its metadata.")
    inputs: list[MetadataTensor] = Field([], description="Input tensors, for the metadata and to choose codecs.")
    outputs: list[MetadataTensor] = Field([], description="Output tensors, for the metadata and to choose codecs.")
    parameters: ModelParameters | None = Field(None, description="Where the model is, and what its runtime takes.")
    row_wise: bool | None = Field(
        None, description="Rows may be stacked into one `predict` and split again; null: what the class says."
    )
    max_batch_size: int = Field(
        0, ge=0, description="Rows that are predicted together at most; 0 lets the server choose."
    )
    max_batch_time: float = Field(0.0, ge=0, description="Seconds that a request may wait for others at most.")
    max_concurrency: int = Field(
        64, gt=0, description="Calls of an `async def predict` at once in one worker; a plain `def` runs one at a time."
    )
    max_workers: int | None = Field(
        None, gt=0, description="Workers that this model may keep busy at once; null: all of its pool."
    )
    predict_timeout_seconds: float | None = Field(
        None,
        gt=0,
        description="Seconds that one `predict` may take: then its worker is replaced; null: no limit. Without workers "
        "only a `predict` that awaits is stopped.",
    )
    idempotent: bool = Field(
        False, description="A request whose worker died is sent to another one, once: predicting twice does no harm."
    )
    warmup_request: dict[str, Any] | str | None = Field(
        None, description="Inference request that is sent before the model is ready: an object, or its JSON file."
    )
    response_cache_bytes: int = Field(
        64 * 1024 * 1024, gt=0, description="Bytes of responses that are kept, where `cache_enabled` is on."
    )
    cache_enabled: bool = Field(False, description="Cache responses, where the server's `cache_enabled` is on too.")
    kafka_input_topics: list[str] = Field(
        [], description="Topics whose records are for this model, also without a header that names it."
    )
    kafka_output_topic: str | None = Field(None, description="Topic of its answers; null: `kafka_topic_output`.")
    kafka_group_id: str | None = Field(
        None, min_length=1, description="Consumer group that reads its topics; null: the server's `kafka_group_id`."
    )
    parallel_workers: int | None = Field(
        None, description="Deprecated: 0 or less runs this model in the server's process; other values do nothing."
    )
    warm_workers: bool = Field(False, description="Deprecated: does nothing.")

    _source: str | None = PrivateAttr(None)
    # The import path and the class it led to: the class stays the same one while the path does.
    _resolved: tuple[str, type[Any]] | None = PrivateAttr(None)

    @field_validator("implementation_", mode="before")
    @classmethod
    def _path_of_class(cls, value: Any) -> Any:
        return import_path_of(value) if isinstance(value, type) else value

    @model_validator(mode="wrap")
    @classmethod
    def _keep_class(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """A class given in code is used as it is, for it need not be importable."""
        settings = handler(data)
        given = data.get("implementation") if isinstance(data, dict) else None
        if isinstance(given, type):
            settings._resolved = (settings.implementation_, given)
        return settings

    @classmethod
    def parse_file(cls, path: str | Path, **kwargs: Any) -> Self:
        """Settings of one JSON file, which relative paths in it are relative to. Errors as in `BaseSettings`."""
        settings = super().parse_file(path, **kwargs)
        settings._source = str(path)
        return settings

    @model_validator(mode="after")
    def _batches_of_one_mind(self) -> Self:
        if self.row_wise is False and self.max_batch_size > 1 and self.max_batch_time > 0:
            raise ValueError(
                "row_wise: false forbids to predict requests together, which max_batch_size and max_batch_time ask for"
            )
        return self

    @property
    def version(self) -> str | None:
        """The model's version; None where it has none."""
        return self.parameters.version if self.parameters else None

    @property
    def implementation(self) -> type[Any]:
        """The class that runs the model, imported at the first access.

        With a source file its folder is on `sys.path` during the import, and modules in that folder are loaded anew,
        so that two model folders may both have a `models.py`. Raises ConfigurationError.
        """
        if self._resolved is None or self._resolved[0] != self.implementation_:
            found = import_implementation(self.implementation_, self._source, self.name)
            self._resolved = (self.implementation_, found)
        return self._resolved[1]

    @implementation.setter
    def implementation(self, value: type[Any]) -> None:
        self.implementation_ = import_path_of(value)
        self._resolved = (self.implementation_, value)
