"""A validation error becomes a JSON pointer that a form can use."""

from __future__ import annotations

from typing import Annotated

import msgspec
import pytest
from msgspec import Meta

from realtime.endpoint import fault_of


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    words: Annotated[str, Meta(max_length=3)] = ""
    must: int = 0


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    must: int


class Body(msgspec.Struct, forbid_unknown_fields=True):
    text: str
    inner: Inner | None = None
    many: list[Inner] = []
    strict: list[Strict] = []
    words: list[str] = []


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        ("[]", "", "Expected `object`, got `array`."),
        ("{}", "/text", "This field must be given."),
        ('{"text":1}', "/text", "Expected `str`, got `int`."),
        ('{"text":"","inner":{"words":"long"}}', "/inner/words", "Expected `str` of length <= 3."),
        ('{"text":"","inner":{"must":"x"}}', "/inner/must", "Expected `int`, got `str`."),
        ('{"text":"","many":[{},{"must":null}]}', "/many/1/must", "Expected `int`, got `null`."),
        ('{"text":"","strict":[{"must":1},{}]}', "/strict/1/must", "This field must be given."),
        ('{"text":"","words":["a",2]}', "/words/1", "Expected `str`, got `int`."),
        ('{"text":"","txet":1}', "/txet", "There is no such field."),
        ('{"text":"","inner":{"wrods":1}}', "/inner/wrods", "There is no such field."),
        ('{"text":"","a b":1}', "/a b", "There is no such field."),
        ('{"text":"","a/b":1}', "/a~1b", "There is no such field."),
        ('{"text":"","a~b":1}', "/a~0b", "There is no such field."),
    ],
)
def test_a_fault_says_where_it_is_and_what_is_wanted(body: str, pointer: str, detail: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(body, type=Body)
    fault = fault_of(str(caught.value))
    assert (fault.pointer, fault.detail) == (pointer, detail)
