"""A model adapter that a study names by its file: `my_models.py:MyModel`."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from generate.errors import ModelError
from schemas.user_code import module_of_file


def split_name(name: str) -> tuple[str, str]:
    """File or module, and class, of an adapter's name; the class is '' where none is named.

    >>> split_name("sub/my_models.py:MyModel")
    ('sub/my_models.py', 'MyModel')
    """
    where, colon, class_name = name.rpartition(":")
    if not colon:
        return name, ""
    return where, class_name


def is_file_name(where: str) -> bool:
    """Whether an adapter is named by its file instead of its module.

    >>> is_file_name("my_models.py"), is_file_name("my_package.models")
    (True, False)
    """
    return where.endswith(".py")


def load_file(where: str, base: Path) -> ModuleType:
    """The module in an adapter's file, loaded once in a process.

    `base` is the folder that a relative path starts from. The folder of the file is put at the end
    of Python's path, so that modules beside it can be imported, and none of them takes the place of
    an installed one. Raises `ModelError` if there is no such file; what goes wrong inside it is
    raised as it is.
    """
    path = (base / where).resolve()
    if not path.is_file():
        raise ModelError(
            f"adapter file {path} does not exist; it is looked for in the folder of the study file, "
            "or in the current one where a command names no study."
        )
    return module_of_file(path, f"adapter_{path.stem}_")
