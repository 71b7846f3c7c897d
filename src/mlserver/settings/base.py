"""What all settings classes share: where values come from, and how they are written out."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings as PydanticSettings
from pydantic_settings import (
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)


class BaseSettings(PydanticSettings):
    """Settings read from the constructor, the environment and `.env`, in this order of precedence."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", protected_namespaces=(), allow_inf_nan=False)

    @classmethod
    def parse_file(cls, path: str | Path, **kwargs: Any) -> Self:
        """Settings of one JSON file. Raises OSError, ValueError for text that is no JSON, pydantic.ValidationError."""
        return cls(**public(json.loads(Path(path).read_bytes())))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[PydanticSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Constructor, environment, `.env`: each under one name per setting, so that precedence holds for aliases."""
        return (
            ConstructorSource(settings_cls, init_settings),
            EnvironmentSource(settings_cls, env_settings),
            EnvironmentSource(settings_cls, dotenv_settings),
        )

    def dict(self, *, by_alias: bool = True, exclude_unset: bool = True, exclude_none: bool = True, **kw: Any) -> Any:
        """The settings that were given, as plain values, under the names they have in JSON files."""
        return self.model_dump(by_alias=by_alias, exclude_unset=exclude_unset, exclude_none=exclude_none, **kw)

    def json(self, *, by_alias: bool = True, exclude_unset: bool = True, exclude_none: bool = True, **kw: Any) -> str:
        """The settings that were given, as JSON, under the names they have in JSON files."""
        return self.model_dump_json(by_alias=by_alias, exclude_unset=exclude_unset, exclude_none=exclude_none, **kw)


def public(given: Mapping[str, Any]) -> dict[str, Any]:
    """The items of a JSON object whose keys may be settings, also in the objects that are settings themselves.

    Keys with a leading underscore are left out, which would be arguments of the constructor, such as `_env_file`.
    """
    return {
        key: public(value) if key.lower() in ("parameters", "cors_settings") and isinstance(value, dict) else value
        for key, value in given.items()
        if not key.startswith("_")
    }


def other_names(*names: str) -> dict[str, Any]:
    """Names accepted besides a field's own: `Field(..., json_schema_extra=other_names("old"))`."""
    return {"other_names": list(names)}


def names_of(settings_cls: type[BaseModel]) -> dict[str, str]:
    """Every accepted name, lower case, and the name that pydantic takes the value under; own names come first.

    A field called `x_` with the alias `x` is known as `x` only.
    """
    own = {field.alias or name: field for name, field in settings_cls.model_fields.items()}
    extra = ((name, field.json_schema_extra) for name, field in own.items())
    others = {other: name for name, says in extra if isinstance(says, dict) for other in listed(says)}
    return {**{name: name for name in own}, **others}


def listed(says: Mapping[str, Any]) -> list[str]:
    """The other names that the `json_schema_extra` of a field lists."""
    return list(says.get("other_names", []))


class RenamingSource(PydanticBaseSettingsSource):
    """A source whose values are handed on under each setting's own name."""

    def __init__(self, settings_cls: type[PydanticSettings], of: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self.names = names_of(settings_cls)
        self.of = of

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Unused: values are collected for all fields at once."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        raise NotImplementedError


class ConstructorSource(RenamingSource):
    """Keyword arguments, and so the keys of a JSON file, in any case; unknown ones as they are."""

    def __call__(self) -> dict[str, Any]:
        given = self.of.init_kwargs if isinstance(self.of, InitSettingsSource) else self.of()
        return first_of_each((self.names.get(key.lower(), key), value) for key, value in by_rank(given, self.names))


class EnvironmentSource(RenamingSource):
    """Variables of the environment or of `.env`; JSON is read where the field takes a list or an object.

    Text that is no JSON is left to validation, whose message names the variable.
    """

    def __call__(self) -> dict[str, Any]:
        if not isinstance(self.of, EnvSettingsSource):
            return dict(self.of())
        prefix, found = self.of.env_prefix.lower(), self.of.env_vars
        fields = {field.alias or name: field for name, field in self.settings_cls.model_fields.items()}
        values = ((own, found.get(prefix + name)) for name, own in self.names.items())
        return first_of_each((own, decoded(text, fields[own])) for own, text in values if text is not None)


def by_rank(given: Mapping[str, Any], names: Mapping[str, str]) -> list[tuple[str, Any]]:
    """The items of `given`, own names before other names, so that `kafka_enabled` beats `kafka_enable`."""
    return sorted(given.items(), key=lambda item: names.get(item[0].lower(), item[0]) != item[0].lower())


def first_of_each(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A dict in which the first of several equal keys wins."""
    result: dict[str, Any] = {}
    for key, value in items:
        result.setdefault(key, value)
    return result


def decoded(text: str, field: FieldInfo) -> Any:
    """`text`, or what it says as JSON where `field` takes a list or an object and `text` is one, or null."""
    if text.lstrip()[:1] not in ("{", "[", "n") or not takes_json(field.annotation):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def takes_json(annotation: Any) -> bool:
    """Whether a list, a dict or a pydantic model is among the types of `annotation`."""
    origin = get_origin(annotation) or annotation
    if isinstance(origin, type) and issubclass(origin, (list, dict, BaseModel)):
        return True
    return any(takes_json(argument) for argument in get_args(annotation))
