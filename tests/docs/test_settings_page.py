"""docs/settings.md is what the settings classes say."""

import re
import runpy
from typing import Any

import pytest

from tests.docs.pages import ROOT

GENERATOR: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "generate_settings.py"))
FIELDS = [(cls, field.alias or name) for cls in GENERATOR["SECTIONS"] for name, field in cls.model_fields.items()]
CODE = "\n".join(
    path.read_text() for path in (ROOT / "src").rglob("*.py") if path.parent != ROOT / "src" / "mlserver" / "settings"
)
# Their whole effect is on other settings.
WITHIN_SETTINGS = {"autogenerate_inference_pool_gid"}


def test_the_page_is_current() -> None:
    current = GENERATOR["page"]()
    assert (ROOT / "docs" / "settings.md").read_text() == current, "run: python docs/generate_settings.py"


@pytest.mark.parametrize(("cls", "name"), FIELDS)
def test_settings_without_effect_are_marked(cls: type, name: str) -> None:
    used = name in WITHIN_SETTINGS or re.search(rf"\.{name}\b(?!\()", CODE) is not None
    marked = name in GENERATOR["WITHOUT_EFFECT"][cls]
    assert used is not marked, f"WITHOUT_EFFECT in docs/generate_settings.py is wrong about {name}"
