"""The names that users import are pinned: removing one is a decision, not an accident."""

import importlib
import json
import subprocess
import sys

import pytest
from pydantic import PydanticDeprecatedSince20

import mlserver
from mlserver.types import RequestInput

NAMES = ["MLModel", "MLServer", "ModelSettings", "Settings", "__version__", "log", "register"]

# What users of MLServer 1.7 import, by module.
PATHS = {
    "mlserver.codecs": """
        Base64Codec CodecError DatetimeCodec DecodedParameterName InputCodec InputCodecLike NumpyCodec NumpyRequestCodec
        PandasCodec RequestCodec RequestCodecLike StringCodec StringRequestCodec decode_args decode_inference_request
        decode_request_input encode_inference_response encode_response_output get_decoded get_decoded_or_raw has_decoded
        register_input_codec register_request_codec
    """,
    "mlserver.codecs.base": """
        find_input_codec find_input_codec_by_payload find_input_codec_by_type_hint
        find_request_codec find_request_codec_by_payload find_request_codec_by_type_hint
    """,
    "mlserver.codecs.errors": "CodecError CodecNotFound InputsNotFound OutputNotFound",
    "mlserver.codecs.json": """
        JSONEncoderWithArray decode_from_bytelike_json_to_dict decode_json_input_or_output encode_to_json
        encode_to_json_bytes
    """,
    "mlserver.codecs.lists": "as_list is_list_of",
    "mlserver.codecs.numpy": "to_datatype to_dtype",
    "mlserver.codecs.utils": "InputOrOutput SingleInputRequestCodec inject_batch_dimension",
    "mlserver.context": "model_context model_name_var model_version_var",
    "mlserver.errors": """
        InferenceError InvalidBatchingMethod InvalidMessageHeaders InvalidModelContext InvalidModelURI MLServerError
        MetricNotFound ModelNotFound ModelNotReady ModelParametersMissing WorkerError WorkerStop
    """,
    "mlserver.logging": "logger",
    "mlserver.metrics": "REGISTRY log register",
    "mlserver.model": "MLModel",
    "mlserver.repository": "DEFAULT_MODEL_SETTINGS_FILENAME ModelRepository SchemalessModelRepository",
    "mlserver.settings": "CORSSettings ModelParameters ModelSettings Settings",
    "mlserver.types": """
        Datatype InferenceErrorResponse InferenceRequest InferenceResponse MetadataModelErrorResponse
        MetadataModelResponse MetadataServerErrorResponse MetadataServerResponse MetadataTensor Parameters
        RepositoryIndexRequest RepositoryIndexResponse RepositoryIndexResponseItem RepositoryLoadErrorResponse
        RepositoryUnloadErrorResponse RequestInput RequestOutput ResponseOutput State TensorData
    """,
    "mlserver.utils": "AsyncManager extract_headers generate_uuid get_model_uri insert_headers to_absolute_path",
    "mlserver_lightgbm": "LightGBMModel",
    "mlserver_sklearn": "SKLearnModel",
    "mlserver_xgboost": "XGBoostModel",
}


def test_the_top() -> None:
    assert mlserver.__all__ == NAMES
    for name in NAMES:
        assert getattr(mlserver, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nope'"):
        mlserver.Nope  # noqa: B018


@pytest.mark.parametrize(("module", "names"), PATHS.items())
def test_import_paths(module: str, names: str) -> None:
    found = importlib.import_module(module)
    assert [name for name in names.split() if not hasattr(found, name)] == []


def test_old_names_of_pydantic() -> None:
    """Deprecated, and without the new ones' thrift: they write what is unset and None too."""
    tensor = RequestInput(name="x", shape=[1], datatype="FP32", data=[1])
    everything = {"name": "x", "shape": [1], "datatype": "FP32", "parameters": None, "data": [1]}
    with pytest.warns(PydanticDeprecatedSince20):
        assert tensor.dict() == everything
    with pytest.warns(PydanticDeprecatedSince20):
        assert json.loads(tensor.json()) == everything
    assert tensor.model_dump() == {key: value for key, value in everything.items() if value is not None}


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import mlserver", {"pydantic", "numpy", "httptools", "confluent_kafka"}),
        ("from mlserver import MLModel", {"httptools", "starlette", "confluent_kafka", "prometheus_client", "sklearn"}),
        ("import mlserver.codecs, mlserver.metrics", {"pandas", "prometheus_client", "httptools", "starlette"}),
        ("from mlserver.handlers import custom_handler", {"fastapi", "starlette"}),
        ("import mlserver.server, mlserver.engine.worker", {"fastapi"}),
        ("import mlserver.server", {"confluent_kafka", "sklearn", "joblib", "pandas"}),
        ("import mlserver_sklearn", {"httptools", "starlette", "confluent_kafka"}),
        ("import mlserver_xgboost", {"httptools", "starlette", "confluent_kafka"}),
        ("import mlserver_lightgbm", {"httptools", "starlette", "confluent_kafka"}),
    ],
)
def test_an_import_brings_no_more_than_it_needs(statement: str, absent: set[str]) -> None:
    code = f"import sys\n{statement}\nprint(*({absent!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
