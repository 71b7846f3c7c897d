"""Bytes to the protocol's slotted values and back; one module per encoding. Knows no door and no model."""
