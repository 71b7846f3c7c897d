"""The command `mlserver`."""

from mlserver.cli.main import main

__all__ = ["main"]
