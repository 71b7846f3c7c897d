"""The repository that the server's settings ask for."""

import inspect

from mlserver.errors import ConfigurationError
from mlserver.repository.repository import ModelRepository
from mlserver.repository.schemaless import SchemalessModelRepository
from mlserver.settings import Settings


def build_repository(settings: Settings) -> ModelRepository:
    """A repository at `model_repository_root`, of the class in `model_repository_implementation`.

    Raises ConfigurationError where that is no `ModelRepository`, or does not take the arguments it is given.
    """
    cls = settings.model_repository_implementation or SchemalessModelRepository
    if not issubclass(cls, ModelRepository) or inspect.isabstract(cls):
        name = f"{cls.__module__}.{cls.__qualname__}"
        raise ConfigurationError(
            f"model_repository_implementation: {name} cannot be used; "
            "expected a subclass of mlserver.repository.ModelRepository with its `list` and `find`"
        )
    arguments = {"root": settings.model_repository_root, **settings.model_repository_implementation_args}
    try:
        inspect.signature(cls).bind(**arguments)
    except TypeError as error:
        # Names of arguments only: their values may be credentials.
        raise ConfigurationError(f"model_repository_implementation_args: {cls.__qualname__}: {error}") from error
    return cls(**arguments)
