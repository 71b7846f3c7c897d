"""Side-by-side benchmark of this server and MLServer 1.7.1: `python -m benchmarks`; see docs/design/benchmark.md."""
