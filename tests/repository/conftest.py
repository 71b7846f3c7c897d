from tests.settings.fixtures import here

__all__ = ["here"]
