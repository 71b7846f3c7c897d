"""Written by scripts/generate_protobuf.py."""

from mlserver.wire.protobuf.pool import define

define(globals(), 'mlserver/wire/protobuf/health.proto', (
    b'\n#mlserver/wire/protobuf'
    b'/health.proto\x12\x0egrpc.heal'
    b'th.v1".\n\x12HealthCheckRequ'
    b'est\x12\x18\n\x07service\x18\x01 \x01(\tR\x07se'
    b'rvice"\xb1\x01\n\x13HealthCheckRes'
    b'ponse\x12I\n\x06status\x18\x01 \x01(\x0e21.'
    b'grpc.health.v1.HealthChe'
    b'ckResponse.ServingStatus'
    b'R\x06status"O\n\rServingStatu'
    b's\x12\x0b\n\x07UNKNOWN\x10\x00\x12\x0b\n\x07SERVIN'
    b'G\x10\x01\x12\x0f\n\x0bNOT_SERVING\x10\x02\x12\x13\n\x0f'
    b'SERVICE_UNKNOWN\x10\x032\xae\x01\n\x06He'
    b'alth\x12P\n\x05Check\x12".grpc.hea'
    b'lth.v1.HealthCheckReques'
    b't\x1a#.grpc.health.v1.Healt'
    b'hCheckResponse\x12R\n\x05Watch\x12'
    b'".grpc.health.v1.HealthC'
    b'heckRequest\x1a#.grpc.healt'
    b'h.v1.HealthCheckResponse'
    b'0\x01b\x06proto3'
))
