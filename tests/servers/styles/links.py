"""Pages whose address the page before has given: in its body or in a header."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.servers.styles.carrier import Carrier
from tests.servers.styles.core import Headers, Json, Path, Rows, Span, Told, Wrong
from tests.servers.styles.tokens import spans
from tests.servers.wire import Request

Targets = Mapping[str, str]
"""Path and query of pages by their relation: first, prev, next, last."""
Place = Callable[[str], Json]
"""How a link is written in a body, made of its path and query."""


def signed(number: int) -> str:
    """Return the query of a page with whatever may stand in one; another byte would be another link."""
    return f"page_token=p%2B{number}%3D,$x'(y)*!&sort=-a+b%20c&sig=YQ==/{number * 7919}%252F&&flag&q=%E2%82%AC:@~"


def numbered(number: int) -> str:
    """Return the query of a page that only a number tells from its neighbours."""
    return f"page={number + 1}&per_page=20&sort=a%2Cb"


@dataclass(frozen=True, kw_only=True)
class ByLink:
    """The link to the next page, with the query that ``query(page)`` writes: it must come back to the letter.

    It stands at ``path`` of the body, written by ``wrote``; ``None`` for a ``path`` that is not there at the end. Or
    ``headers`` makes headers of all that could be linked. ``start`` is the query of the first page, as the client asks
    for it.
    """

    carrier: Carrier = field(default_factory=Carrier)
    size: int = 20
    query: Callable[[int], str] = signed
    path: Path = ("next",)
    wrote: Callable[[str, str], Json] | None = None
    end: Callable[[], Told] | None = None
    headers: Callable[[Targets, str], Headers] | None = None
    empty: tuple[int, ...] = ()

    def span(self, request: Request, rows: Rows) -> Span:
        """Return the rows of the page that is linked."""
        every = spans(len(rows), self.size, self.empty)
        query = request.target.partition("?")[2]
        for page in every[1:]:
            if query == self.query(page.number):
                self._check_rest(request)
                return page
        if "page_token" in query or query in (self.query(0), self.query(len(every))):
            raise Wrong(f"{query} was never given")
        self.carrier.read(request, ())
        return every[0]

    def told(self, span: Span, request: Request) -> Told:
        """Return the links that a page has."""
        host = f"http://{request.headers['host']}"
        count = len(spans(span.total, self.size, self.empty))
        near = {"first": 0, "prev": span.number - 1, "next": span.number + 1, "last": count - 1}
        targets = {
            relation: f"{request.path}?{self.query(number)}" for relation, number in near.items() if 0 <= number < count
        }
        if self.headers is not None:
            return Told(headers=self.headers(targets, host))
        if "next" in targets:
            return Told({self.path: (self.wrote or absolute)(host, targets["next"])})
        return self.end() if self.end else Told({self.path: None})

    def _check_rest(self, request: Request) -> None:
        """A link is all there is to say: method, headers and body stay what they were."""
        if request.method != self.carrier.method or request.body:
            raise Wrong(f"{request.method} with {len(request.body)} bytes for a link")
        for name, value in self.carrier.headers.items():
            if request.headers.get(name.lower()) != value:
                raise Wrong(f"the header {name} is lost on the way")


def absolute(host: str, target: str) -> str:
    """Write a link with scheme and host."""
    return host + target


def from_root(host: str, target: str) -> str:
    """Write a link that begins with a slash."""
    return target


def from_here(host: str, target: str) -> str:
    """Write a link that begins with the last part of the path."""
    return target.rpartition("?")[0].rpartition("/")[2] + "?" + target.partition("?")[2]


def from_above(host: str, target: str) -> str:
    """Write a link that goes up and down again."""
    path, _, query = target.partition("?")
    folder, _, name = path.rpartition("/")
    return f"../{folder.rpartition('/')[2]}/{name}?{query}"


def no_scheme(host: str, target: str) -> str:
    """Write a link that takes the scheme of its page."""
    return host.removeprefix("http:") + target


def query_alone(host: str, target: str) -> str:
    """Write a link that is a query."""
    return "?" + target.partition("?")[2]


def with_fragment(host: str, target: str) -> str:
    """Write a link with a fragment, which is nobody's business but the client's."""
    return f"{host}{target}#page=1&x=?"


def in_object(host: str, target: str) -> Json:
    """Write a link as HAL does."""
    return {"href": host + target, "templated": False}


def in_list(host: str, target: str) -> Json:
    """Write a link among others, as FHIR does."""
    return [{"relation": "self", "url": f"{host}/never"}, {"relation": "next", "url": host + target}]


WRITINGS: Final = (absolute, from_root, from_here, from_above, no_scheme, query_alone, with_fragment, in_object)


def link_header(targets: Targets, host: str) -> Headers:
    """Write what is there, next alone."""
    return (("Link", f'<{host}{targets["next"]}>; rel="next"'),) if "next" in targets else ()


def four_relations(targets: Targets, host: str) -> Headers:
    """Write all relations into one header."""
    return (("Link", ", ".join(f'<{host}{target}>; rel="{name}"' for name, target in targets.items())),)
