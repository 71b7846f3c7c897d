"""The gRPC door: `inference.GRPCInferenceService` and what stands beside it on that port."""
