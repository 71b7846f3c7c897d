"""What a repository of models has to do."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mlserver.errors import ConfigurationError, ModelNotFound
from mlserver.settings import ModelSettings

# Within the classes below `list` is a method.
Models: TypeAlias = list[ModelSettings]


@dataclass(frozen=True, slots=True)
class Problem:
    """Settings that are there but cannot be used: why, and the names that the model may go by."""

    error: ConfigurationError
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Scan:
    """What a look at a repository brought: the models, and what stood in the way of others."""

    found: Sequence[ModelSettings]
    problems: Sequence[Problem] = ()


class ModelRepository(ABC):
    """Where models are found. A class of this kind, named in `model_repository_implementation`, is made as
    `cls(root=model_repository_root, **model_repository_implementation_args)`.
    """

    @abstractmethod
    async def list(self) -> Models:
        """The settings of every model. Raises ConfigurationError where some cannot be used."""

    @abstractmethod
    async def find(self, name: str) -> Models:
        """The settings of every version of the model `name`. Raises ModelNotFound."""

    async def scan(self) -> Scan:
        """Every model that can be used, and what is wrong with the others, for callers that go on without those.

        A repository that does not tell them apart has either all of its models or one problem.
        """
        try:
            return Scan(await self.list())
        except ConfigurationError as error:
            return Scan([], [Problem(error, frozenset())])


def all_or_nothing(scan: Scan) -> Models:
    """Every model found. Raises ConfigurationError, one line, where there is any problem."""
    if scan.problems:
        more = len(scan.problems) - 1
        raise ConfigurationError(f"{scan.problems[0].error}{f' (and {more} more like it)' if more else ''}")
    return list(scan.found)


def named(scan: Scan, name: str) -> Models:
    """Every version of the model `name`.

    Raises ConfigurationError where one of them may be among the problems: leaving it out would unload it. Raises
    ModelNotFound.
    """
    for problem in scan.problems:
        if name in problem.names:
            raise problem.error
    found = [settings for settings in scan.found if settings.name == name]
    if not found:
        raise ModelNotFound(name)
    return found
