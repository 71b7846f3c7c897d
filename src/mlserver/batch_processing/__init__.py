"""The batch client: sends the requests of a JSON-lines file to a server, and writes the answers to another.

It is a caller from outside, like any other client, and knows nothing of the server's inside.
"""

from mlserver.batch_processing.options import BatchOptions
from mlserver.batch_processing.process import process_batch
from mlserver.batch_processing.results import Summary

__all__ = ["BatchOptions", "Summary", "process_batch"]
