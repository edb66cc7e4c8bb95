"""Credentials that a query holds, taken out of what is stored and shown."""

from __future__ import annotations

from collections.abc import Collection as Several
from collections.abc import Iterator, Mapping
from dataclasses import replace

from airflow_paginated.paging.collection import Collection
from airflow_paginated.paging.sensitive import MIN_MASKED_CHARS, SENSITIVE
from airflow_paginated.paging.strategies import STRATEGIES, describe
from airflow_paginated.paging.values import Json


def split_credentials(collection: Collection, secrets: Several[str]) -> Collection:
    """Return the collection with the credentials in its query apart: they are sent with each request and not stored.

    Those are the values that hold one of ``secrets``, and those that are named like one. What the strategy or the
    partitions set stays.
    """
    own = {*_texts(describe(collection.pagination))}
    own.update(collection.parameter_names)
    named = type(collection.pagination) in STRATEGIES.values()
    query = collection.request.query
    apart = {
        name: value
        for name, value in query.items()
        if name not in own and ((named and SENSITIVE.fullmatch(name)) or _holds(value, secrets))
    }
    if not apart:
        return collection
    kept = {name: value for name, value in query.items() if name not in apart}
    return replace(collection, request=replace(collection.request, query=kept), secret_query=apart)


def shown_of(collection: Collection) -> frozenset[str]:
    """Return the parameters of partitions whose values may stand in a log."""
    return frozenset(name for name in collection.parameter_names if not SENSITIVE.fullmatch(name))


def _holds(value: Json, secrets: Several[str]) -> bool:
    text = str(value)
    return text in secrets or any(len(secret) >= MIN_MASKED_CHARS and secret in text for secret in secrets)


def _texts(value: Json) -> Iterator[str]:
    """Yield every text in what a strategy is described by: the names of its parameters are among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
