"""Cases of pages whose address is given: in the body or in the Link header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from airflow_paginated import HeaderLink, JsonLink
from tests.servers.styles import ByLink, More, Told, Total, links
from tests.servers.styles.links import Targets
from tests.strategies.cases import ASKED, Case, case
from tests.strategies.sequential import LISTS

BODY: Final = ByLink(carrier=ASKED)
NEXT: Final = JsonLink(next_url_path="next")
LINK: Final = ByLink(carrier=ASKED, headers=links.link_header)
NAMED: Final = {writing.__name__.replace("_", " "): writing for writing in links.WRITINGS}

IN_BODY: Final[Mapping[str, Case]] = {
    **{f"link, {name}": case(replace(BODY, wrote=writing), NEXT) for name, writing in NAMED.items()},
    "link, among others": case(
        replace(BODY, path=("links",), wrote=links.in_list, end=lambda: Told({("links",): []})),
        JsonLink(next_url_path="links"),
    ),
    "link, null in its object at the end": case(
        replace(BODY, path=("next", "href"), end=lambda: Told({("next",): {"href": None}})), NEXT
    ),
    "link, empty text at the end": case(replace(BODY, end=lambda: Told({("next",): ""})), NEXT),
    "link, absent at the end": case(replace(BODY, end=Told), NEXT),
    "link at a key with dots": case(
        replace(BODY, path=("@odata.nextLink",), end=Told), JsonLink(next_url_path='["@odata.nextLink"]')
    ),
    "link and a flag": case(BODY, replace(NEXT, has_more_path="has_more"), More()),
    "link and a total": case(BODY, replace(NEXT, total_path="meta.total"), Total()),
    "link, empty pages with a link": case(replace(BODY, empty=(0, 3, 4)), NEXT, pages=15),
}


def several(targets: Targets, host: str) -> tuple[tuple[str, str], ...]:
    """Write a header for each relation."""
    return tuple(("Link", f"<{host}{target}>; rel={name}") for name, target in targets.items())


def empty_at_the_end(targets: Targets, host: str) -> tuple[tuple[str, str], ...]:
    """Write a header that is there and empty on the last page."""
    return links.link_header(targets, host) or (("Link", ""),)


def written(form: str) -> ByLink:
    """Return an API that writes the link to the next page in a form, and none on the last page."""

    def header(targets: Targets, host: str) -> tuple[tuple[str, str], ...]:
        values = {"next": host + targets["next"], "path": targets["next"]} if "next" in targets else None
        return (("Link", form.format(**values)),) if values else ()

    return replace(LINK, headers=header)


FORMS: Final = {
    "unquoted": "<{next}>; rel=next",
    "capitals": '<{next}>; REL="NEXT"',
    "two relations": '<{next}>; rel="last next"',
    "two relations and tabs": '<{next}>\t;\trel = "x-own  next"',
    "no space": '<{next}>;rel="next";title=x',
    "other parameters first": '<{next}>; title="a, <b>; rel=\\"prev\\""; type=text/html; rel="next"',
    "a title with its language": "<{next}>; title*=UTF-8'de'n%c3%a4chstes%20Kapitel; rel=next",
    "a parameter without a value": '<{next}>; crossorigin; rel="next"',
    "empty elements": ' , ,<{next}>; rel="next",, ',
    "a space inside": '< {next} >; rel="next"',
    "the first rel counts": '<{next}>; rel="next"; rel="prev"',
    "an anchor elsewhere": '</never>; rel="next"; anchor="#part", <{next}>; rel="next"',
    "the first of two": '<{next}>; rel="next", </never>; rel="next"',
    "others around": '</never;x=,y>; rel="prev", <{next}>; rel="next", </never>; rel="https://api.example/rels/next"',
    "a path": '<{path}>; rel="next"',
}

IN_HEADER: Final[Mapping[str, Case]] = {
    "Link": case(LINK, HeaderLink(), **LISTS),
    "Link and a total": case(LINK, HeaderLink(total_header="X-Total"), Total(header="X-Total"), **LISTS),
    "Link, four relations": case(replace(LINK, headers=links.four_relations), HeaderLink(), **LISTS),
    "Link, four headers": case(replace(LINK, headers=several), HeaderLink(), **LISTS),
    "Link, numbered": case(
        replace(LINK, headers=links.four_relations, query=links.numbered), HeaderLink(relation="Next"), **LISTS
    ),
    "Link, empty at the end": case(replace(LINK, headers=empty_at_the_end), HeaderLink(), **LISTS),
    **{f"Link, {name}": case(written(form), HeaderLink(), **LISTS) for name, form in FORMS.items()},
}
