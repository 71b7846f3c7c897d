"""The REST door: HTTP to the data plane and back. Imports no other door."""
