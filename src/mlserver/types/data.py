"""The data of one tensor: a list for whoever looks at it as one, an array for everything else."""

from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, RootModel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from mlserver.types.arrays import array_of, cast, shaped, text_array
from mlserver.types.base import new, put_dict, put_fields_set
from mlserver.types.tensors import DTYPES, Array, Elements

# Kinds of dtype that stay arrays; strings and objects are BYTES, which is always a list.
_NUMBERS = "biuf"


def _held(value: Any) -> dict[str, Any]:
    """What an instance around `value` holds."""
    if isinstance(value, list):
        return {"root": value}
    if isinstance(value, TensorData):
        return dict(value.__dict__)
    if isinstance(value, np.ndarray):
        return {"_array": value} if value.dtype.kind in _NUMBERS else {"root": value.ravel().tolist()}
    if isinstance(value, np.generic):
        return {"root": value.item()}
    if hasattr(value, "__array__"):
        return _held(np.asarray(value))
    return {"root": list(value) if _listlike(value) else value}


def _listlike(value: Any) -> bool:
    """Whether `value` is to be made a list: tuples, ranges, a parser's arrays."""
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)


def _listed(value: Any) -> Any:
    """The list to serialise; `value` is whatever was assigned to the field, for assignment is not validated."""
    return TensorData.of(value)._view()


def _same(one: Any, other: Any) -> bool:
    """Equality of nested lists in which NaN equals NaN."""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return _same(np.asarray(one).tolist(), np.asarray(other).tolist())
    return bool(one == other) or bool(one != one and other != other)


class TensorData(RootModel[Any]):
    """A tensor's elements in row-major order: flat or nested as they were given, or a numeric array.

    An instance holds one of three things: a list (or a single value) as given; an array; or an array with the JSON
    text it was read from. `root`, iteration and indexing make the list, with numbers as they were sent, and from then
    on the list is what counts, because whoever asked for it may change it. `len`, `==` and `repr` only look.
    """

    # What is held is in `__dict__`, where pydantic's pickling and copying find it: either "root", or "_array" (which
    # is None where the elements are in "_source" alone) and perhaps "_source".

    def __init__(self, /, root: Any) -> None:
        put_fields_set(self, {"root"})
        put_dict(self, _held(root))

    @classmethod
    def over(cls, data: Array | Elements | None, source: bytes | None = None) -> "TensorData":
        """Around `data` as it is, without a copy or a look.

        The list of an array is decoded from `source`, its JSON text, where there is one. With `data` None the elements
        are in `source` alone.
        """
        made = new(cls)
        put_fields_set(made, {"root"})
        if isinstance(data, list):
            put_dict(made, {"root": data})
        else:
            put_dict(made, {"_array": data} if source is None else {"_array": data, "_source": source})
        return made

    @classmethod
    def of(cls, value: Any) -> "TensorData":
        """`value` itself where it is one already, else around it: a list, a single value or an array."""
        return value if isinstance(value, cls) else cls(value)

    @property
    def array(self) -> Array | None:
        """The numeric array held, writable; None where a list is held."""
        held = self.__dict__
        if "root" in held:
            return None
        array: Array | None = held["_array"]
        if array is not None and not array.flags.writeable:
            array = held["_array"] = array.copy()
        return array

    def as_array(self, datatype: str, shape: list[int], *, writable: bool = True) -> Array:
        """An array of `shape` (one dimension may be -1) with the dtype of `datatype`; unicode or bytes for BYTES.

        No copy where an array of that dtype is held, unless it is read-only and `writable`. Raises CodecError that
        says what was expected and found.
        """
        array = self.array if writable else self.__dict__.get("_array")
        if array is not None:
            if array.dtype == DTYPES.get(datatype) and array.shape == tuple(shape):
                return array
            return shaped(cast(array, datatype), shape)
        if datatype == "BYTES":
            return text_array(self._view(), shape)
        return shaped(array_of(self._view(), datatype), shape)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        return iter(self.root)

    def __getitem__(self, index: Any) -> Any:
        return self.root[index]

    def __len__(self) -> int:
        held = self.__dict__
        if "root" in held or "_source" in held:
            return len(self._view())
        return int(held["_array"].size)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TensorData):
            return _same(self._view(), other._view())
        if isinstance(other, list | tuple):
            return _same(self._view(), other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __copy__(self) -> "TensorData":
        made = self.over(None)
        put_dict(made, {name: copy(value) for name, value in self.__dict__.items()})
        return made

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "root":
            put_dict(self, _held(value))
        else:
            super().__setattr__(name, value)

    if not TYPE_CHECKING:  # else every misspelt attribute would pass the type checker, and the plugin makes its own

        @classmethod
        def model_construct(cls, root: Any, _fields_set: set[str] | None = None) -> "TensorData":
            """The same as `TensorData(root)`: there is nothing to validate."""
            return cls(root)

        def __getattr__(self, name: str) -> Any:
            if name != "root" or not self.__dict__:
                return super().__getattr__(name)
            root = self._view()
            put_dict(self, {"root": root})
            return root

    def _view(self) -> Any:
        """The list, without making it what is held."""
        held = self.__dict__
        if "root" in held:
            return held["root"]
        if "_source" in held:
            return msgspec.json.decode(held["_source"])
        return held["_array"].ravel().tolist()

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        yield "root", self._view()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.of, serialization=core_schema.plain_serializer_function_ser_schema(_listed)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"title": cls.__name__, "description": "Elements in row-major order, nested or flat."}
