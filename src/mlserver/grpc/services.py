"""Stubs and servicers of a service from its descriptor: what protoc would write as text, which would tie it to one
version of grpcio.
"""

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass


def shape_of(method: MethodDescriptor) -> str:
    """`unary_unary`, `stream_stream` and so on: what gRPC's own functions are named by."""
    sides = (method.client_streaming, method.server_streaming)
    return "_".join("stream" if streaming else "unary" for streaming in sides)


def make_stub(service: ServiceDescriptor) -> type[Any]:
    """A class that is called with a channel, plain or `grpc.aio`, and has a callable for each method."""

    def __init__(self: Any, channel: Any) -> None:  # noqa: N807 - a method of the class below
        for method in service.methods:
            call = getattr(channel, shape_of(method))(
                f"/{service.full_name}/{method.name}",
                request_serializer=GetMessageClass(method.input_type).SerializeToString,
                response_deserializer=GetMessageClass(method.output_type).FromString,
            )
            setattr(self, method.name, call)

    return type(f"{service.name}Stub", (), {"__init__": __init__, "__doc__": f"Client of {service.full_name}."})


def make_servicer(service: ServiceDescriptor) -> type[Any]:
    """A class whose methods all refuse; subclasses implement them."""
    methods = {method.name: _unimplemented for method in service.methods}
    return type(f"{service.name}Servicer", (), {**methods, "__doc__": f"Server of {service.full_name}."})


def make_adder(service: ServiceDescriptor) -> Callable[[Any, Any], None]:
    """A function that adds a servicer to a server, plain or `grpc.aio`."""

    def add(servicer: Any, server: Any) -> None:
        handlers = {
            method.name: getattr(grpc, f"{shape_of(method)}_rpc_method_handler")(
                getattr(servicer, method.name),
                request_deserializer=GetMessageClass(method.input_type).FromString,
                response_serializer=GetMessageClass(method.output_type).SerializeToString,
            )
            for method in service.methods
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))

    return add


def _unimplemented(self: Any, request: Any, context: grpc.ServicerContext) -> Any:
    context.set_code(grpc.StatusCode.UNIMPLEMENTED)
    context.set_details("Method not implemented!")
    raise NotImplementedError("Method not implemented!")
