"""The distribution's version, on a line of its own so that the build reads it without importing the package."""

__version__ = "2.0.0.dev0"
