"""The same request by JSON, by binary REST, and by gRPC with typed and with raw contents: equal results and errors."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings

from tests.contract.doors import TABLE, Answer, Doors, Refusal, Told
from tests.contract.known import BAD, GOOD
from tests.contract.questions import NoFormError, Question
from tests.contract.strategies import questions


def told(doors: Doors, question: Question) -> Iterator[tuple[str, Told]]:
    """The answer in each form that the question has."""
    for form, ask in doors.forms.items():
        try:
            yield form, ask(question)
        except NoFormError:
            continue


def the_answer(doors: Doors, question: Question) -> Answer:
    """The one that all forms have."""
    answers = dict(told(doors, question))
    found = answers["JSON"]
    assert isinstance(found, Answer), found
    assert list(answers.values()) == [found] * len(answers)
    return found


@settings(max_examples=60)
@given(question=questions())
def test_results_are_equal(doors: Doors, question: Question) -> None:
    answer = the_answer(doors, question)
    sent = {value.name: (value.datatype, value.shape, value.data) for value in question.inputs}
    asked = list(question.outputs) or list(sent)
    assert answer.outputs == {name: sent[name] for name in asked}
    assert (answer.model, answer.id, answer.parameters) == ("echo", question.id, question.parameters)


@pytest.mark.parametrize("name", GOOD)
def test_results_of_others_are_equal(doors: Doors, name: str) -> None:
    the_answer(doors, GOOD[name])


def test_words_of_the_protocol_are_not_the_models(doors: Doors) -> None:
    assert the_answer(doors, GOOD["words of the protocol"]).parameters == {"own": "kept"}


@pytest.mark.parametrize("name", BAD)
def test_errors_are_equal(doors: Doors, name: str) -> None:
    question, kind = BAD[name]
    status, code = TABLE[kind]
    expected = {"JSON": status, "binary": status, "typed": code, "raw": code}
    found = dict(told(doors, question))
    for form, answer in found.items():
        assert isinstance(answer, Refusal), (form, answer)
        assert answer.status == expected[form], (form, answer)
        assert answer.message
        assert "Traceback" not in answer.message
    assert {"JSON", "typed"} & set(found)
