"""The figures: CPU per page, wall time with latency, the price of faults, and memory."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.measure import Figures, Job, run
from benchmarks.static import static_server
from tests.servers import ServerProcess

LATENCY = 0.05


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table; ``met`` is None where there is no goal."""

    what: str
    value: str
    goal: str = ""
    met: bool | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to do."""

    rounds: int
    pages: int
    many_pages: int
    cpu_workers: int = 8
    wall_workers: int = 32
    chains: int = 64
    chain_pages: int = 50


FULL = Plan(rounds=5, pages=1000, many_pages=10_000)
QUICK = Plan(rounds=1, pages=200, many_pages=600, chain_pages=5)


def _alternating(names: Sequence[str], rounds: int, job: Callable[[str], Job]) -> Mapping[str, list[Figures]]:
    """Run the contestants in turn, round by round, so that a slow minute of the machine hits all of them."""
    results: dict[str, list[Figures]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            results[name].append(run(job(name)))
    return results


def _ratio(above: Sequence[float], below: Sequence[float]) -> float:
    return median(a / b for a, b in zip(above, below, strict=True))


def _exact(results: Sequence[Figures]) -> Line:
    good = sum(one.result.exact for one in results)
    return Line("    ours: files equal to the reference", f"{good} of {len(results)}", "all", good == len(results))


def cpu_per_page(plan: Plan) -> Iterator[Line]:
    """CPU of all threads per static page, the file written."""
    names = ("recipe", "http_operator", "ours")
    with static_server(plan.pages) as (url, server):
        results = _alternating(names, plan.rounds, lambda name: Job(name, url, plan.pages, plan.cpu_workers))
    yield Line(f"CPU per page: {plan.pages} static pages from {server}, {plan.cpu_workers} workers", "")
    cpu = {name: [one.cpu for one in results[name]] for name in names}
    for name in names:
        yield Line(f"    {name}", f"{median(cpu[name]) / plan.pages * 1000:.3f} ms")
    yield Line("    http_operator / recipe", f"{_ratio(cpu['http_operator'], cpu['recipe']):.2f}")
    ratio = _ratio(cpu["ours"], cpu["recipe"])
    yield Line("    ours / recipe", f"{ratio:.2f}", "<= 0.40", ratio <= 0.4)
    yield _exact(results["ours"])
    first = median(one.first for one in results["ours"])
    yield Line("    ours: the first two pages in a fresh process, with late imports", f"{first:.2f} s")


def wall_time(plan: Plan) -> Iterator[Line]:
    """Wall time with 50 ms of latency against the ideal, and with 5 % faults of four kinds against that without."""
    server = {"api": {"rows": plan.pages * 100}, "latency": LATENCY, "exact": True}
    faults = {"type": "four_faults", "rate": 0.05, "seed": 1}
    with (
        ServerProcess(server) as good,
        ServerProcess({**server, "faults": faults}) as bad,
    ):
        urls = {"fine": good.url, "flaky": bad.url}

        def job(name: str) -> Job:
            contestant, where = name.split()
            bad.reset()  # each run meets the same faults
            return Job(contestant, urls[where], plan.pages, plan.wall_workers)

        names = ("recipe fine", "ours fine", "recipe flaky", "ours flaky")
        results = _alternating(names, min(plan.rounds, 3), job)
    yield from _wall_lines(plan, results)


def _wall_lines(plan: Plan, results: Mapping[str, list[Figures]]) -> Iterator[Line]:
    ideal = LATENCY * (1 + math.ceil((plan.pages - 1) / plan.wall_workers))
    wall = {name: [one.wall for one in figures] for name, figures in results.items()}
    yield Line(f"Wall time: {plan.pages} pages, 50 ms latency, {plan.wall_workers} workers, ideal {ideal:.2f} s", "")
    ratio = median(wall["ours fine"]) / ideal
    yield Line("    recipe / ideal", f"{median(wall['recipe fine']) / ideal:.2f}")
    yield Line("    ours / ideal", f"{ratio:.2f}", "<= 1.10", ratio <= 1.1)
    yield _exact(results["ours fine"])
    yield Line("  The same with 5 % faults of four kinds", "")
    lost = [one.result.lost for one in results["recipe flaky"]]
    recipe = _ratio(wall["recipe flaky"], wall["recipe fine"])
    yield Line("    recipe / recipe without faults", f"{recipe:.2f}, {median(lost):.0f} pages lost")
    price = _ratio(wall["ours flaky"], wall["ours fine"])
    yield Line("    ours / ours without faults", f"{price:.2f}", "<= 1.25", price <= 1.25)
    yield _exact(results["ours flaky"])


def chains(plan: Plan) -> Iterator[Line]:
    """Wall time of many partitions whose pages are found one after the other."""
    pages, workers = plan.chains * plan.chain_pages, plan.wall_workers
    stores = Job("ours", "", pages, workers, plan.chains).stores
    api = {"rows": stores, "cursor": True}
    with ServerProcess({"api": api, "latency": LATENCY, "exact": True}) as server:
        job = Job("ours", server.url, pages, workers, plan.chains)
        results = [run(job) for _ in range(min(plan.rounds, 3))]
    ideal = LATENCY * plan.chain_pages * math.ceil(plan.chains / workers)
    what = f"Cursors: {plan.chains} chains of {plan.chain_pages} pages, 50 ms latency, {workers} workers"
    yield Line(f"{what}, ideal {ideal:.2f} s", "")
    ratio = median(one.wall for one in results) / ideal
    yield Line("    ours / ideal", f"{ratio:.2f}", "<= 1.15", ratio <= 1.15)
    yield _exact(results)


def memory(plan: Plan) -> Iterator[Line]:
    """Peak resident memory of the whole process at few and at many pages."""
    rounds, few, many = min(plan.rounds, 3), plan.pages, plan.many_pages
    with ServerProcess({"api": {"rows": few * 100}}) as short, ServerProcess({"api": {"rows": many * 100}}) as long:
        jobs = {
            "recipe": Job("recipe", short.url, few, plan.cpu_workers),
            "http_operator": Job("http_operator", short.url, few, plan.cpu_workers),
            "ours few": Job("ours", short.url, few, plan.cpu_workers),
            "ours many": Job("ours", long.url, many, plan.cpu_workers),
        }
        results = _alternating(tuple(jobs), rounds, jobs.__getitem__)
    peak = {name: median(one.peak for one in figures) for name, figures in results.items()}
    yield Line("Peak memory of the process", "")
    yield Line(f"    recipe, {few} pages", f"{peak['recipe']:.0f} MB")
    yield Line(f"    http_operator, {few} pages", f"{peak['http_operator']:.0f} MB")
    yield Line(f"    ours, {few} pages", f"{peak['ours few']:.0f} MB")
    more = peak["ours many"] - peak["ours few"]
    yield Line(f"    ours, {many} pages", f"{peak['ours many']:.0f} MB ({more:+.0f})", "<= +20 MB", more <= 20)
    yield _exact([*results["ours few"], *results["ours many"]])


CASES: Mapping[str, Callable[[Plan], Iterator[Line]]] = {
    "cpu": cpu_per_page,
    "wall": wall_time,
    "chains": chains,
    "memory": memory,
}


def main() -> int:
    """Print the table; the exit code is 1 when ours wrote a wrong file, whatever the goals say."""
    parser = argparse.ArgumentParser(description="Compare the plain recipe, HttpOperator and this provider.")
    parser.add_argument("--quick", action="store_true", help="a smoke run: few pages, one round, figures mean little")
    parser.add_argument("cases", nargs="*", help=f"some of {', '.join(CASES)}; all by default")
    options = parser.parse_args()
    if unknown := set(options.cases) - set(CASES):
        parser.error(f"unknown cases {sorted(unknown)}")
    if (load := os.getloadavg()[0]) > 0.5 * (os.cpu_count() or 1):
        print(f"The machine is busy (load average {load:.1f}): times mean little, wall times least.")
    wrong = False
    for name in options.cases or CASES:
        for line in CASES[name](QUICK if options.quick else FULL):
            verdict = {None: "", True: "met", False: "MISSED"}[line.met]
            print(f"{line.what:<74} {line.value:>22}  {line.goal:<10} {verdict}".rstrip(), flush=True)
            wrong = wrong or (line.goal == "all" and not line.met)
    return int(wrong)
