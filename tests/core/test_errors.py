"""The error classes form the tree drawn in the module's docstring."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from airflow_paginated.core import errors
from airflow_paginated.core.errors import (
    ConfigurationError,
    PaginatedApiError,
    PermanentError,
    QuotaExceeded,
    TransientError,
)


def drawn() -> dict[str, str]:
    """Read the tree from the docstring: each class with its parent."""
    parents: dict[str, str] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^    ([│├└─ ]*)([A-Z]\w+)", line)
        if found:
            depth = len(found[1]) // 4
            above = [*above[:depth], found[2]]
            parents[found[2]] = above[-2] if depth else "Exception"
    return parents


def defined() -> dict[str, str]:
    """Read the tree from the classes."""
    classes = [each for _, each in inspect.getmembers(errors, inspect.isclass) if each.__module__ == errors.__name__]
    return {each.__name__: each.__bases__[0].__name__ for each in classes}


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    assert drawn() == defined()
    assert len(drawn()) > 10


@pytest.mark.parametrize("name", sorted(defined()))
def test_each_error_has_one_remedy(name: str) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, PaginatedApiError)
    assert not (issubclass(kind, TransientError) and issubclass(kind, PermanentError))
    assert kind.__doc__


def test_a_wrong_argument_is_a_value_error_too() -> None:
    assert issubclass(ConfigurationError, ValueError)


def test_an_exceeded_quota_carries_the_seconds() -> None:
    error = QuotaExceeded("wait", 90.0)
    assert (str(error), error.seconds) == ("wait", 90.0)


@pytest.mark.parametrize("name", sorted(defined()))
def test_an_error_survives_the_way_between_processes(name: str) -> None:
    kind = getattr(errors, name)
    error = kind("why", 5.0) if kind is QuotaExceeded else kind("why")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (kind, "why")
    assert vars(again) == vars(error)
