"""Health, metadata, reflection, the repository, and Triton's extensions."""

from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from mlserver.grpc import dataplane_pb2 as pb
from mlserver.grpc import model_repository_pb2 as old
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
from mlserver.grpc.model_repository_pb2_grpc import ModelRepositoryServiceStub
from mlserver.grpc.services import make_stub
from mlserver.version import __version__
from mlserver.wire.protobuf import health_pb2 as health
from mlserver.wire.protobuf import reflection_pb2 as reflection
from mlserver.wire.protobuf.model_config_pb2 import DataType
from tests.grpc.client import PATIENCE_SECONDS, refusal, typed_request, values
from tests.grpc.conftest import make_folder, no_surprise, port_of, serve
from tests.seed.serving import Served

Status = health.HealthCheckResponse
INFERENCE = "inference.GRPCInferenceService"


def test_health_of_the_protocol(stub: Any) -> None:
    assert stub.ServerLive(pb.ServerLiveRequest()).live
    assert stub.ServerReady(pb.ServerReadyRequest()).ready
    assert stub.ModelReady(pb.ModelReadyRequest(name="twice")).ready
    assert stub.ModelReady(pb.ModelReadyRequest(name="twice", version="v1")).ready


def test_metadata(stub: Any) -> None:
    server = stub.ServerMetadata(pb.ServerMetadataRequest())
    assert (server.name, server.version) == ("mlserver", __version__)
    model = stub.ModelMetadata(pb.ModelMetadataRequest(name="sum"))
    assert (model.name, model.platform, list(model.versions)) == ("sum", "test", [])
    (tensor,) = model.inputs
    assert (tensor.name, tensor.datatype, list(tensor.shape)) == ("x", "FP64", [-1, 2])
    assert values(tensor.parameters) == {"content_type": "np"}
    assert list(stub.ModelMetadata(pb.ModelMetadataRequest(name="twice")).versions) == ["v1", "v2"]


def health_of(channel: grpc.Channel) -> Any:
    """The health service's stub."""
    return make_stub(health.DESCRIPTOR.services_by_name["Health"])(channel)


def test_grpc_health(channel: grpc.Channel) -> None:
    check = health_of(channel).Check
    for service in ("", INFERENCE, "sum"):
        assert check(health.HealthCheckRequest(service=service)).status == Status.SERVING
    assert refusal(check, health.HealthCheckRequest(service="none")).code == "NOT_FOUND"


def test_a_server_without_one_of_its_models_is_not_ready(tmp_path: Path) -> None:
    models = {"sum": {"implementation": "kitchen.Sum"}, "unready": {"implementation": "kitchen.Unready"}}
    served = serve(make_folder(tmp_path / "models", models))
    try:
        served.wait_for("started, not ready")
        with grpc.insecure_channel(f"127.0.0.1:{port_of(served)}") as channel:
            stub: Any = GRPCInferenceServiceStub(channel)
            assert not stub.ServerReady(pb.ServerReadyRequest()).ready
            assert not stub.ModelReady(pb.ModelReadyRequest(name="unready")).ready
            check = health_of(channel).Check
            told = [check(health.HealthCheckRequest(service=name)).status for name in ("", "unready", "sum")]
            assert told == [Status.NOT_SERVING, Status.NOT_SERVING, Status.SERVING]
            assert refusal(stub.ModelInfer, typed_request("unready")).code == "UNAVAILABLE"
    finally:
        served.__exit__()


def test_watching_health_ends_with_the_server(tmp_path: Path) -> None:
    with serve(make_folder(tmp_path / "models", {"sum": {"implementation": "kitchen.Sum"}})) as served:
        with grpc.insecure_channel(f"127.0.0.1:{port_of(served)}") as channel:
            watch = health_of(channel).Watch
            watched = watch(health.HealthCheckRequest(), timeout=PATIENCE_SECONDS)
            assert next(watched).status == Status.SERVING
            unknown = watch(health.HealthCheckRequest(service="none"), timeout=PATIENCE_SECONDS)
            assert next(unknown).status == Status.SERVICE_UNKNOWN
            served.stop()
            assert list(watched) in ([], [Status(status=Status.NOT_SERVING)])
        no_surprise(served)


@pytest.mark.parametrize("name", ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"])
def test_reflection_tells_the_services_and_their_messages(channel: grpc.Channel, name: str) -> None:
    ask = channel.stream_stream(
        f"/{name}/ServerReflectionInfo",
        request_serializer=reflection.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection.ServerReflectionResponse.FromString,
    )
    questions = [
        reflection.ServerReflectionRequest(list_services=""),
        reflection.ServerReflectionRequest(file_containing_symbol=INFERENCE),
        reflection.ServerReflectionRequest(file_containing_symbol="inference.None"),
        reflection.ServerReflectionRequest(file_by_filename="none.proto"),
        reflection.ServerReflectionRequest(all_extension_numbers_of_type="inference.ModelConfig"),
    ]
    services, files, *unknown = ask(iter(questions))
    assert {INFERENCE, "grpc.health.v1.Health", name} <= {one.name for one in services.list_services_response.service}
    pool = DescriptorPool()
    for serialised in reversed(files.file_descriptor_response.file_descriptor_proto):
        pool.Add(FileDescriptorProto.FromString(serialised))
    methods = pool.FindServiceByName(INFERENCE).methods_by_name
    assert methods["ModelInfer"].input_type.fields_by_name["raw_input_contents"].number == 7
    assert [one.error_response.error_code for one in unknown] == [5, 5, 5]


def test_shared_memory_is_refused(stub: Any) -> None:
    for kind in ("System", "Cuda"):
        for verb in ("Status", "Register", "Unregister"):
            name = f"{kind}SharedMemory{verb}"
            refused = refusal(getattr(stub, name), getattr(pb, f"{name}Request")(name="region"))
            assert refused.code == "UNIMPLEMENTED"
            assert refused.details == "shared memory is not supported: send the tensors themselves"


def test_trace_and_log_settings_are_read_and_not_changed(stub: Any) -> None:
    traced = stub.TraceSetting(pb.TraceSettingRequest(model_name="sum")).settings
    assert list(traced["trace_level"].value) == ["OFF"]
    logged = stub.LogSettings(pb.LogSettingsRequest()).settings
    assert (logged["log_info"].bool_param, logged["log_verbose_level"].uint32_param) == (True, 1)
    trace, log = pb.TraceSettingRequest(), pb.LogSettingsRequest()
    trace.settings["trace_level"].value.append("TENSORS")
    log.settings["log_info"].bool_param = False
    assert refusal(stub.TraceSetting, trace).code == "PERMISSION_DENIED"
    assert refusal(stub.LogSettings, log).code == "PERMISSION_DENIED"
    trace.settings["trace_level"].value[:] = ["OFF"]
    log.settings["log_info"].bool_param = True
    assert stub.TraceSetting(trace).settings == traced
    assert stub.LogSettings(log).settings == logged
    log.settings["log_none"].bool_param = True
    assert refusal(stub.LogSettings, log).code == "INVALID_ARGUMENT"


def test_configuration_and_statistics(stub: Any) -> None:
    config = stub.ModelConfig(pb.ModelConfigRequest(name="sum")).config
    assert (config.name, config.input[0].name, config.input[0].data_type) == ("sum", "x", DataType.Value("TYPE_FP64"))
    assert refusal(stub.ModelConfig, pb.ModelConfigRequest(name="none")).code == "NOT_FOUND"
    asked = pb.ModelStatisticsRequest(name="twice", version="v2")
    (before,) = stub.ModelStatistics(asked).model_stats
    for _ in range(3):
        stub.ModelInfer(typed_request("twice", version="v2"))
    (after,) = stub.ModelStatistics(asked).model_stats
    assert (after.name, after.version) == ("twice", "v2")
    assert after.inference_stats.success.count - before.inference_stats.success.count == 3
    assert after.inference_count - before.inference_count == 3
    assert len(stub.ModelStatistics(pb.ModelStatisticsRequest()).model_stats) >= len({"sum", "echo", "twice", "gate"})
    assert refusal(stub.ModelStatistics, pb.ModelStatisticsRequest(name="none")).code == "NOT_FOUND"


def index_of(stub: Any, messages: Any = pb, *, ready: bool = False) -> dict[tuple[str, str], str]:
    """The repository's index: states by name and version."""
    models = stub.RepositoryIndex(messages.RepositoryIndexRequest(ready=ready)).models
    return {(model.name, model.version): model.state for model in models}


def test_the_repository_under_both_of_its_names(tmp_path: Path) -> None:
    models = {"sum": {"implementation": "kitchen.Sum"}, "echo": {"implementation": "kitchen.Echo"}}
    with serve(make_folder(tmp_path / "models", models)) as served:
        with grpc.insecure_channel(f"127.0.0.1:{port_of(served)}") as channel:
            _walk(GRPCInferenceServiceStub(channel), GRPCInferenceServiceStub(channel), pb)
            _walk(ModelRepositoryServiceStub(channel), GRPCInferenceServiceStub(channel), old)
        served.stop()
        no_surprise(served)


def _walk(repository: Any, stub: Any, messages: Any) -> None:
    """Unload, look, load again."""
    assert index_of(repository, messages) == {("sum", ""): "READY", ("echo", ""): "READY"}
    repository.RepositoryModelUnload(messages.RepositoryModelUnloadRequest(model_name="sum"))
    assert refusal(stub.ModelInfer, typed_request("sum")).code == "NOT_FOUND"
    assert index_of(repository, messages, ready=True) == {("echo", ""): "READY"}
    assert index_of(repository, messages)[("sum", "")] != "READY"
    repository.RepositoryModelLoad(messages.RepositoryModelLoadRequest(model_name="sum"))
    assert stub.ModelInfer(typed_request("sum")).model_name == "sum"
    for call in (repository.RepositoryModelLoad, repository.RepositoryModelUnload):
        request = getattr(messages, f"{call._method.decode().rpartition('/')[2]}Request")(model_name="none")
        assert refusal(call, request).code == "NOT_FOUND"


def test_a_model_is_loaded_as_its_folder_says_and_not_otherwise(stub: Any, served: Served) -> None:
    request = pb.RepositoryModelLoadRequest(model_name="sum")
    request.parameters["config"].string_param = "{}"
    refused = refusal(stub.RepositoryModelLoad, request)
    assert (refused.code, "config" in refused.details) == ("INVALID_ARGUMENT", True)


def test_who_may_not_change_the_server(stub: Any) -> None:
    request = pb.RepositoryModelUnloadRequest(model_name="sum")
    forwarded = [("x-forwarded-for", "203.0.113.1")]
    for call in (stub.RepositoryModelUnload, stub.RepositoryModelLoad):
        message = request if call is stub.RepositoryModelUnload else pb.RepositoryModelLoadRequest(model_name="sum")
        assert refusal(call, message, metadata=forwarded).code == "PERMISSION_DENIED"
    assert stub.ModelReady(pb.ModelReadyRequest(name="sum")).ready
