"""What the measured servers serve: copied into, or run by, each server's own environment."""
