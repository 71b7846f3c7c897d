"""The JSON encoding, under one name for doors."""

from mlserver.wire.json_reader import JsonReader, RequestHead, output_requests
from mlserver.wire.json_writer import encoded, error_bytes, member_bytes, response_bytes

__all__ = [
    "JsonReader",
    "RequestHead",
    "encoded",
    "error_bytes",
    "member_bytes",
    "output_requests",
    "response_bytes",
]
