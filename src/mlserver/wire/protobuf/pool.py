"""A descriptor pool of our own.

tritonclient, kserve and others register messages of the same names (`inference.ModelInferRequest`) in protobuf's
default pool, which takes a name once. Ours are in a pool that nobody else knows, so that all can be imported in one
process, in any order.
"""

from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message_factory import GetMessageClass

POOL = DescriptorPool()


def define(module: dict[str, Any], name: str, serialized: bytes) -> None:
    """Put the messages and enums of a serialised FileDescriptorProto, the file `name`, into a module's namespace.

    Files that it imports are defined before it.
    """
    POOL.AddSerializedFile(serialized)
    file: FileDescriptor = POOL.FindFileByName(name)
    module["DESCRIPTOR"] = file
    for message in file.message_types_by_name.values():
        made = module[message.name] = GetMessageClass(message)
        made.__module__ = module["__name__"]
    for enum in file.enum_types_by_name.values():
        _define_enum(module, enum)


def _define_enum(module: dict[str, Any], enum: EnumDescriptor) -> None:
    module[enum.name] = EnumTypeWrapper(enum)
    for value in enum.values:
        module[value.name] = value.number
