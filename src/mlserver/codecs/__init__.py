"""Codecs: between tensors and the Python values that models work with.

A module per content type; importing this package registers them all. Among those that can encode a value the first one
registered is taken.
"""

from mlserver.codecs.base import (
    InputCodec,
    InputCodecLike,
    RequestCodec,
    RequestCodecLike,
    register_input_codec,
    register_request_codec,
)
from mlserver.codecs.base64 import Base64Codec
from mlserver.codecs.datetime import DatetimeCodec
from mlserver.codecs.decorator import decode_args
from mlserver.codecs.errors import CodecNotFound, InputsNotFound, OutputNotFound
from mlserver.codecs.numpy import NumpyCodec, NumpyRequestCodec
from mlserver.codecs.pandas import PandasCodec
from mlserver.codecs.string import StringCodec, StringRequestCodec
from mlserver.codecs.utils import (
    DecodedParameterName,
    decode_inference_request,
    decode_request_input,
    encode_inference_response,
    encode_response_output,
    get_decoded,
    get_decoded_or_raw,
    has_decoded,
)
from mlserver.errors import CodecError

__all__ = [
    "Base64Codec",
    "CodecError",
    "CodecNotFound",
    "DatetimeCodec",
    "DecodedParameterName",
    "InputCodec",
    "InputCodecLike",
    "InputsNotFound",
    "NumpyCodec",
    "NumpyRequestCodec",
    "OutputNotFound",
    "PandasCodec",
    "RequestCodec",
    "RequestCodecLike",
    "StringCodec",
    "StringRequestCodec",
    "decode_args",
    "decode_inference_request",
    "decode_request_input",
    "encode_inference_response",
    "encode_response_output",
    "get_decoded",
    "get_decoded_or_raw",
    "has_decoded",
    "register_input_codec",
    "register_request_codec",
]

for _input_codec in (NumpyCodec, StringCodec, Base64Codec, DatetimeCodec):
    register_input_codec(_input_codec)
for _request_codec in (NumpyRequestCodec, StringRequestCodec, PandasCodec):
    register_request_codec(_request_codec)
