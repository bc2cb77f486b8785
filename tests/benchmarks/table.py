"""The figures as Markdown tables, which read well in a terminal too."""

from collections.abc import Callable, Iterator, Sequence

from tests.benchmarks.contender import Lane
from tests.benchmarks.dispatching import HANDLERS, LIFECYCLE_HANDLERS, Dispatch
from tests.benchmarks.observing import Observing
from tests.benchmarks.report import Report
from tests.benchmarks.targets import Target

Row = Sequence[str]


def as_text(report: Report) -> str:
    """Return the whole report for people."""
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    yield from _head(report)
    yield "\n## A plain event to async handlers: times the plain loop of awaits (ns for each emit)\n"
    yield from _dispatch(report, "async", _to_awaits)
    yield "\n## A plain event to inline sync handlers: times the plain loop of awaits (ns for each emit)\n"
    yield from _dispatch(report, "sync", _to_awaits)
    yield "\n## The same, times the plain loop of calls, which is stricter\n"
    yield from _dispatch(report, "sync", _to_calls)
    yield ""
    for name, note in report.notes.items():
        yield f"- {name}: {note}"
    yield "\n## A lifecycle event to async handlers: times the plain loop of awaits (ns for each handler)\n"
    yield from grid(["contender", *(f"{n:,}" for n in LIFECYCLE_HANDLERS)], _lifecycle(report))
    yield "\n## An event that nobody subscribed to\n"
    yield from grid(["contender", "ns"], [[cell.contender, f"{cell.ns:.0f}"] for cell in report.nobody])
    yield "\n## Observers: how long an emit holds the emitter\n"
    yield from _observing(report.observing)
    yield "\n## Subscriptions: µs each\n"
    yield from grid(["role", "how many", "subscribe", "first emit", "cancel"], _subscribing(report))
    kept = report.memory
    yield f"\nBytes kept: a handler {kept.handler:,}, an observer {kept.observer:,}, at work {kept.observer_at_work:,}"
    yield "\n## Targets\n"
    yield from grid(["", "target", "at most", "measured"], [verdict(target) for target in report.targets])


def _head(report: Report) -> Iterator[str]:
    machine = report.machine
    libraries = ", ".join(f"{name} {version}" for name, version in machine.versions.items() if version)
    yield f"{machine.date}, {machine.cpu}, {machine.cpus} CPUs, {machine.system}, {machine.python}; {libraries}"
    for name, reason in report.left_out.items():
        yield f"left out: {name}: {reason}"


def _dispatch(report: Report, lane: Lane, figure: Callable[[Dispatch], str]) -> Iterator[str]:
    cells = {(cell.contender, cell.handlers): cell for cell in report.dispatch if cell.lane == lane}
    names = list(dict.fromkeys(name for name, _ in cells))
    rows = [[name, *_traits(report, name, lane), *(figure(cells[name, n]) for n in HANDLERS)] for name in names]
    yield from grid(["contender", "isolates", "order", "priorities", *(f"{n:,}" for n in HANDLERS)], rows)


def _traits(report: Report, name: str, lane: Lane) -> Row:
    # The plain loop of awaits stands in both tables and has the traits of its own lane in both.
    found = [traits for traits in report.contenders if traits.name == name]
    traits = next((traits for traits in found if traits.lane == lane), found[0])
    return [_yes(traits.isolates), traits.order, _yes(traits.priorities)]


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _to_awaits(cell: Dispatch) -> str:
    return cell.fault or f"{cell.ratio:,.2f} ({cell.ns:,.0f})"


def _to_calls(cell: Dispatch) -> str:
    return cell.fault or f"{cell.ratio_to_calls:,.2f}"


def _lifecycle(report: Report) -> list[Row]:
    cells = {(cell.contender, cell.handlers): cell for cell in report.lifecycle}
    names = dict.fromkeys(name for name, _ in cells)
    return [[name, *(_each(cells[name, handlers]) for handlers in LIFECYCLE_HANDLERS)] for name in names]


def _each(cell: Dispatch) -> str:
    return f"{cell.ratio:.2f} ({cell.ns / cell.handlers:,.0f})"


def _observing(seen: Observing) -> Iterator[str]:
    yield f"{seen.observers:,} idle observers: {seen.us_each:.2f} µs each"
    yield f"a burst of {seen.burst} events: {seen.burst_us_each:.2f} µs for each observer and event"


def _subscribing(report: Report) -> list[Row]:
    return [
        [cell.role, f"{cell.subscriptions:,}"]
        + [f"{us:.2f}" for us in (cell.subscribe_us, cell.first_emit_us, cell.cancel_us)]
        for cell in report.subscribing
    ]


def verdict(target: Target) -> Row:
    """Return the row of a target: whether it is met, what it is, its limit, and what was measured."""
    met = "met" if target.met else f"missed by {target.measured - target.limit:.2f} {target.unit}"
    return [met, target.name, f"{target.limit:g} {target.unit}", f"{target.measured:.2f} {target.unit}"]


def grid(header: Row, rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of a table."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    yield _line(header, widths)
    yield _line(["-" * width for width in widths], widths)
    for row in rows:
        yield _line(row, widths)


def _line(row: Row, widths: Sequence[int]) -> str:
    return "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |"
