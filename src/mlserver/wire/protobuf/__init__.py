"""Protobuf messages of the gRPC door, and what turns them into the protocol's slotted values and back."""
