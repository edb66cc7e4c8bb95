"""A demo API of employees: paginated, slow and flaky, and always the same for the same seed.

    python demo/api.py --host 127.0.0.1 --port 8000

``GET /employees?page=&per_page=&active=`` serves the rows, ``GET /departments`` a short list, ``GET /employees/count``
the API's own count (never flaky), ``GET /stats`` what it served and which faults it threw, ``GET /healthz`` its health.
"""

from __future__ import annotations

import argparse
import hmac
import json
import math
import random
import signal
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

DEPARTMENTS = ("Engineering", "Finance", "Legal", "Logistics", "Marketing", "People", "Research", "Sales", "Support")
FIRST_NAMES = ("Ada", "Björn", "Chiara", "Dmitri", "Elif", "Femi", "Grace", "Hiro", "Inês", "Jamal", "Kateřina")
LAST_NAMES = ("Abara", "Čapek", "Dubois", "Eriksen", "Fischer", "García", "Haddad", "Ito", "Kowalski", "Müller")
CITIES = (("Berlin", "DE"), ("Kraków", "PL"), ("Lagos", "NG"), ("Lisboa", "PT"), ("Ōsaka", "JP"), ("Montréal", "CA"))

FAULTS = {"unavailable_503": 40, "reset_in_body": 35, "short_body": 35, "too_many_429": 10}
"""The faults of a request and their weights."""

GOOD_FROM_ATTEMPT = 4
"""From this attempt on (counted from 0) a page is served: five attempts always suffice."""


@dataclass(frozen=True)
class Settings:
    """What the API serves, and how badly."""

    rows: int = 50_000
    seed: int = 7
    fault_rate: float = 0.12
    latency: tuple[float, float] = (0.05, 0.15)
    retry_after: int = 1
    max_per_page: int = 500
    token: str | None = None


def employee(rng: random.Random, number: int) -> tuple[str, bool]:
    """Return one employee as JSON text, the salary with both its decimals, and whether they are active."""
    first, last, (city, country) = rng.choice(FIRST_NAMES), rng.choice(LAST_NAMES), rng.choice(CITIES)
    active = rng.random() < 0.9
    before = {"id": number, "name": f"{first} {last}", "email": f"employee{number}@example.com"}
    before["department"] = rng.choice(DEPARTMENTS)
    salary = rng.randrange(250_000, 1_200_000, 10) / 100
    after = {"hired": str(date(2010, 1, 1) + timedelta(days=rng.randrange(5_500))), "active": active}
    address = {"street": f"{rng.choice(LAST_NAMES)} St {rng.randrange(1, 200)}", "city": city, "country": country}
    head, tail = json.dumps(before, ensure_ascii=False), json.dumps({**after, "address": address}, ensure_ascii=False)
    return f'{head[:-1]}, "salary": {salary:.2f}, {tail[1:]}', active


class Company:
    """All employees, made once; read-only afterwards, so every thread may read."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def _everyone(self) -> list[tuple[str, bool]]:
        rng = random.Random(self._settings.seed)
        return [employee(rng, number) for number in range(1, self._settings.rows + 1)]

    @cached_property
    def _by_activity(self) -> dict[bool | None, list[str]]:
        active = [text for text, is_active in self._everyone if is_active]
        former = [text for text, is_active in self._everyone if not is_active]
        return {None: [text for text, _ in self._everyone], True: active, False: former}

    def employees(self, active: bool | None) -> Sequence[str]:
        """Return the JSON texts of all employees, or of those who are (not) active."""
        return self._by_activity[active]

    @property
    def departments(self) -> list[dict[str, Any]]:
        """Return the departments, each with its monthly budget for salaries."""
        rng = random.Random(f"{self._settings.seed}:departments")
        fair_share = self._settings.rows * 0.9 * 7_250 / len(DEPARTMENTS)
        return [{"name": name, "monthly_budget": round(fair_share * rng.uniform(0.9, 1.1), -3)} for name in DEPARTMENTS]


class Weather:
    """Decides which attempt of which request fails, and counts what happened."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._attempts: Counter[str] = Counter()  # under the lock
        self._served: Counter[str] = Counter()  # under the lock
        self._faults: Counter[str] = Counter()  # under the lock

    def next_fault(self, request: str) -> tuple[str | None, float]:
        """Return the fault (or None) and the latency for the next attempt of this request; a success starts over."""
        with self._lock:
            attempt = self._attempts[request]
            rng = random.Random(f"{self._settings.seed}:{request}:{attempt}")
            latency = rng.uniform(*self._settings.latency)
            faulty = attempt < GOOD_FROM_ATTEMPT and rng.random() < self._settings.fault_rate
            fault = rng.choices(list(FAULTS), list(FAULTS.values()))[0] if faulty else None
            self._attempts[request] = attempt + 1 if fault else 0
            self._faults.update([fault] if fault else [])
            return fault, latency

    def count(self, path: str) -> None:
        """Count one request."""
        with self._lock:
            self._served[path] += 1

    def report(self) -> dict[str, Any]:
        """Return the counts since the start."""
        with self._lock:
            return {"requests": dict(self._served), "faults": {kind: self._faults[kind] for kind in FAULTS}}


class BadRequestError(Exception):
    """The query is invalid."""


class Api(BaseHTTPRequestHandler):
    """One connection of a client, kept alive."""

    protocol_version = "HTTP/1.1"
    server_version = "demo"
    wbufsize = -1  # headers and body leave in one packet
    disable_nagle_algorithm = True
    timeout = 60

    def __init__(self, *args: Any, settings: Settings, company: Company, weather: Weather) -> None:
        self._settings = settings
        self._company = company
        self._weather = weather
        super().__init__(*args)

    def do_GET(self) -> None:
        """Handle one request."""
        url = urlsplit(self.path)
        routes = {
            "/employees": self._employees,
            "/employees/count": self._count,
            "/departments": self._departments,
            "/stats": self._stats,
            "/healthz": self._healthz,
        }
        if url.path not in routes:
            return self._send(404, {"error": f"no such path; try one of {', '.join(routes)}"})
        if url.path != "/healthz" and not self._welcome():
            return self._send(401, {"error": "a valid bearer token is required"}, {"WWW-Authenticate": "Bearer"})
        self._weather.count(url.path)
        try:
            routes[url.path]({name: values[-1] for name, values in parse_qs(url.query).items()})
        except BadRequestError as error:
            self._send(400, {"error": str(error)})

    def _welcome(self) -> bool:
        sent = self.headers.get("Authorization", "")
        return self._settings.token is None or hmac.compare_digest(
            sent.encode(), f"Bearer {self._settings.token}".encode()
        )

    def _employees(self, query: dict[str, str]) -> None:
        number = _whole("page", query.get("page", "1"))
        per_page = min(_whole("per_page", query.get("per_page", "100")), self._settings.max_per_page)
        texts = self._company.employees(_flag("active", query.get("active")))
        meta = {"page": number, "per_page": per_page}
        meta |= {"total_pages": math.ceil(len(texts) / per_page), "total": len(texts)}
        rows = ", ".join(texts[(number - 1) * per_page : number * per_page])
        self._send_flaky(f'{{"data": [{rows}], "meta": {json.dumps(meta)}}}'.encode())

    def _count(self, query: dict[str, str]) -> None:
        self._send(200, {"count": len(self._company.employees(_flag("active", query.get("active"))))})

    def _departments(self, _: dict[str, str]) -> None:
        self._send_flaky(json.dumps({"data": self._company.departments}).encode())

    def _stats(self, _: dict[str, str]) -> None:
        self._send(200, self._weather.report())

    def _healthz(self, _: dict[str, str]) -> None:
        self._send(200, {"status": "ok"})

    def _send_flaky(self, body: bytes) -> None:
        fault, latency = self._weather.next_fault(self.path)
        time.sleep(latency)
        if fault == "unavailable_503":
            self._send(503, {"error": "try again"})
        elif fault == "too_many_429":
            self._send(429, {"error": "too many requests"}, {"Retry-After": str(self._settings.retry_after)})
        elif fault is not None:
            self._break_off(body, reset=fault == "reset_in_body")
        else:
            self._write(200, body, {})

    def _break_off(self, body: bytes, reset: bool) -> None:
        """Announce the full body, send half of it, and close the connection, with or without a reset."""
        self._write(200, body[: len(body) // 2], {"Content-Length": str(len(body))})
        self.close_connection = True
        if reset:
            time.sleep(0.01)  # a reset discards data that the receiver has not read yet
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def _send(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
        self._write(status, json.dumps(value).encode(), headers or {})

    def _write(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: /stats has the counts."""


def _whole(name: str, text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10**9:
        raise BadRequestError(f"{name} must be a whole number from 1 on")
    return int(text)


def _flag(name: str, text: str | None) -> bool | None:
    flags = {None: None, "true": True, "false": False}
    if text not in flags:
        raise BadRequestError(f"{name} must be true or false")
    return flags[text]


class Server(ThreadingHTTPServer):
    """The server: one daemon thread per connection."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing when a client disconnects."""


def serve(host: str, port: int, settings: Settings) -> Server:
    """Bind the server; port 0 takes any free port."""
    company = Company(settings)
    company.employees(None)
    return Server((host, port), partial(Api, settings=settings, company=company, weather=Weather(settings)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A paginated, slow and flaky API of employees.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free port")
    parser.add_argument("--rows", type=int, default=Settings.rows)
    parser.add_argument("--seed", type=int, default=Settings.seed)
    parser.add_argument("--fault-rate", type=float, default=Settings.fault_rate, help="share of faulty attempts")
    parser.add_argument("--latency-ms", type=float, nargs=2, default=(50, 150), metavar=("MIN", "MAX"))
    parser.add_argument("--token", help="ask for this bearer token")
    return parser.parse_args()


def main() -> None:
    """Serve until stopped; the first line on stdout is the address."""
    args = _arguments()
    low, high = (milliseconds / 1000 for milliseconds in args.latency_ms)
    settings = Settings(args.rows, args.seed, args.fault_rate, (low, high), token=args.token)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), serve(args.host, args.port, settings) as server:
        print(f"listening on http://{args.host}:{server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
