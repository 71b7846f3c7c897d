"""tritonclient: `python triton.py KIND ADDRESS`, KIND one of http, http.aio, grpc and grpc.aio."""

import asyncio
import sys

import triton_inference
import triton_management
import triton_streams
from checks import report
from triton_kinds import Triton

kind, address = sys.argv[1:]
loop = asyncio.new_event_loop()
triton = Triton(kind, address, loop)
groups = [triton_management.CHECKS, triton_inference.CHECKS, triton_streams.CHECKS]
groups.append(triton_inference.HTTP_CHECKS if triton.http else triton_streams.GRPC_CHECKS)
results = {}
for checks in groups:
    results |= checks.run(triton)
report({f"tritonclient {kind}": results})
triton.close()
