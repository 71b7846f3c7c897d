"""Between the data plane and the model: runners, frames and batching. Knows no web, RPC, Kafka or metrics package."""
