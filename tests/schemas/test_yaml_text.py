"""YAML of users: what is ambiguous or explodes is refused, in every model that reads it."""

from __future__ import annotations

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from schemas import study
from schemas.io.yaml_text import read_yaml

LEVELS = "".join(
    f"b{level}: &b{level} [{', '.join(['*b' + str(level - 1)] * 10)}]\n" for level in range(1, 10)
)
WRITTEN = study.Written.__subclasses__()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("b0: &b0 [x]\n" + LEVELS, "aliases stand for more than"),
        ("a: &a [*a]", "contains itself"),
        ("[" * 3000, "nested too deeply"),
        ("seed: 1\nseed: 2", "key 'seed' stands twice, again in line 2"),
        ("day: 2020-99-99", "month must be in 1..12"),
    ],
)
def test_yaml_that_nobody_means_is_refused(text: str, message: str) -> None:
    with pytest.raises(yaml.YAMLError, match=message):
        read_yaml(text)


def test_an_alias_is_read_like_what_it_stands_for() -> None:
    assert read_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}") == {"a": {"x": 1}, "b": {"x": 1, "y": 2}}
    assert read_yaml("") is None


def accepts(annotation: object, value: object) -> bool:
    """Whether a field of that type takes a value."""
    try:
        TypeAdapter(annotation).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("model", WRITTEN, ids=lambda model: model.__name__)
def test_nothing_that_users_write_is_taken_for_another_type(model: type[study.Written]) -> None:
    """Every field of every model, given each plain value that its type does not say."""
    for name, field in model.model_fields.items():
        for value in (True, 1, 1.5, "1", "yes", b"1"):
            if accepts(field.annotation, value):
                continue
            with pytest.raises(ValidationError) as told:
                model.model_validate({name: value})
            assert any(error["loc"][:1] == (name,) for error in told.value.errors())
