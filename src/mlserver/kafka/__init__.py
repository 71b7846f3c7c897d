"""The Kafka door: a process of its own that reads, decodes, asks the scheduler, produces and commits.

`supervisor` runs in the server's process and imports no Kafka client; everything else runs in the door's process.
"""
