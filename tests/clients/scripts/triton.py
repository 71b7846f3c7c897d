"""tritonclient: `python -m tests.clients.scripts.triton KIND ADDRESS`, KIND http, http.aio, grpc or grpc.aio."""

import asyncio
import sys
from typing import Any

from tests.clients.scripts import triton_inference, triton_management, triton_streams
from tests.clients.scripts.checks import report
from tests.clients.scripts.triton_kinds import Triton

kind, address = sys.argv[1:]
loop = asyncio.new_event_loop()
triton = Triton(kind, address, loop)
groups = [triton_management.CHECKS, triton_inference.CHECKS, triton_streams.CHECKS]
groups.append(triton_inference.HTTP_CHECKS if triton.http else triton_streams.GRPC_CHECKS)
results: dict[str, Any] = {}
for checks in groups:
    results |= checks.run(triton)
report({f"tritonclient {kind}": results})
triton.close()
