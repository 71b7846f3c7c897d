"""The nearest known key: a slip of the finger is recognised, a known key never corrected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserver.settings import ModelParameters, ModelSettings, Settings
from mlserver.settings.base import names_of
from mlserver.settings.hints import NEARLY_EQUAL, nearest
from mlserver.settings.model import is_name

KNOWN = sorted(names_of(Settings))


@st.composite
def slips(draw: st.DrawFn) -> tuple[str, str]:
    """A known key, and the same with a letter left out, doubled, or swapped with the next."""
    key = draw(st.sampled_from([name for name in KNOWN if len(name) > 5]))
    at = draw(st.integers(0, len(key) - 2))
    slip = draw(
        st.sampled_from(
            [key[:at] + key[at + 1 :], key[:at] + key[at] + key[at:], key[:at] + key[at + 1] + key[at] + key[at + 2 :]]
        )
    )
    return key, slip


@given(slips())
def test_slips_of_the_finger(slip: tuple[str, str]) -> None:
    meant, typed = slip
    guess = nearest(typed, KNOWN)
    assert guess is not None
    # Either name of a setting that has two will do, and so will a slip that is a known key itself.
    assert guess == typed or names_of(Settings)[guess] == names_of(Settings)[meant]


@given(st.sampled_from(KNOWN), st.booleans())
def test_a_known_key_is_its_own_nearest(key: str, upper: bool) -> None:
    assert nearest(key.upper() if upper else key, KNOWN, NEARLY_EQUAL) == key


@given(st.text())
def test_any_text_is_answered_with_a_known_key_or_none(text: str) -> None:
    assert nearest(text, KNOWN) in {*KNOWN, None}


@given(st.text())
def test_a_name_is_never_a_path(text: str) -> None:
    if is_name(text):
        assert not {*"/\\\n\r\0 :%?#"} & {*text}
        assert text not in {".", ".."}


@pytest.mark.parametrize("key", ["model_type", "device", "task", "url", "env", "threads", "name", "pool"])
def test_parameters_of_runtimes_are_left_alone(key: str) -> None:
    assert nearest(key, names_of(ModelParameters), NEARLY_EQUAL) is None


def test_an_alias_is_the_only_name_of_its_field() -> None:
    assert "implementation" in names_of(ModelSettings)
    assert "implementation_" not in names_of(ModelSettings)
    assert names_of(Settings)["kafka_enable"] == "kafka_enabled"
