"""A tour of the bus by itself: no node and no model, only events of a small shop.

    python examples/bus.py            # on asyncio
    python examples/bus.py --trio     # the same on trio

Each stop of the tour has a bus of its own and prints, below its first line, what it shows: handlers and vetoes, their
options, the ways to subscribe, observers, streams, whoever uses blinker itself, and how a test looks at all that.
"""

import inspect
import logging
import sys
import threading
from collections.abc import Awaitable, Callable

import anyio
from blinker import Signal

from eventinit import Event, EventBus, EventStream, ObserverSetAside, Veto, VetoableEvent, handles, observes
from eventinit.errors import EventTimeoutError, HandlerError
from eventinit.testing import record


class ShopEvent(Event):
    """Whatever happens in the shop; who subscribes to it gets everything below."""

    item: str


class Order(ShopEvent, VetoableEvent):
    """Somebody wants an item: handlers may say no."""

    amount: int = 1


class Shipped(ShopEvent):
    """An item is on its way: nobody can say no any more."""


async def handlers_run_in_order(bus: EventBus) -> None:
    """Handlers run one after another: higher priority first, then in the order of subscription."""

    @bus.on(Order)
    def pack(event: Order) -> None:
        print(f"second: pack {event.amount} x {event.item}")

    @bus.on(ShopEvent)
    async def tell(event: ShopEvent) -> None:
        print(f"third: a handler of a base class gets the {type(event).__name__} as well")

    @bus.on(Order, priority=10)
    async def reserve(event: Order) -> None:
        print(f"first: reserve {event.item}")

    await bus.emit(Order(item="lamp", amount=2))


async def one_veto_is_enough(bus: EventBus) -> None:
    """A handler may veto a VetoableEvent; all handlers still run, and emit returns what came of it."""

    in_stock = 3

    @bus.on(Order, priority=1)
    def stock(event: Order) -> Veto | None:
        return Veto(f"only {in_stock} of {event.item} left") if event.amount > in_stock else None

    @bus.on(Order)
    def price(event: Order) -> bool:
        return event.item != "moon"  # False is a veto without a reason

    for order in (Order(item="lamp"), Order(item="lamp", amount=4), Order(item="moon", amount=9)):
        outcome = await bus.emit(order)
        print(f"{order.amount} x {order.item}: vetoed={outcome.vetoed}", *(f"[{veto}]" for veto in outcome.vetoes))


async def options_of_a_handler(bus: EventBus) -> None:
    """A handler may run once, only where a filter says so, or in a thread."""

    @bus.on(Order, once=True)
    def first_customer(event: Order) -> None:
        print(f"once: the first order is for a {event.item}")

    @bus.on(Order, where=lambda order: order.amount > 1)
    def bulk(event: Order) -> None:
        print(f"where: {event.amount} at once")

    @bus.on(Order, thread=True)
    def slow_printer(event: Order) -> None:
        where = "the event loop's" if threading.current_thread() is threading.main_thread() else "another"
        print(f"thread: the receipt for {event.item} is printed in {where} thread")

    await bus.emit(Order(item="lamp"))
    await bus.emit(Order(item="desk", amount=2))


async def handlers_that_fail(bus: EventBus) -> None:
    """What a handler raises fails the emit, once all others have run; with on_error="log" it is only logged."""

    @bus.on(Order, on_error="log")
    def newsletter(event: Order) -> None:
        raise ConnectionError(f"the mail server takes no news of a {event.item}")

    @bus.on(Order, timeout=0.01, name="payment")
    async def pay(event: Order) -> None:
        print(f"payment for {event.item} waits for a bank that never answers")
        await anyio.sleep_forever()

    @bus.on(Order)
    def pack(event: Order) -> None:
        print(f"pack {event.item}, though payment has failed")

    try:
        await bus.emit(Order(item="lamp"))
    except HandlerError as error:
        print(f"emit raised {type(error).__name__}: {error}")


async def ways_to_subscribe(bus: EventBus) -> None:
    """A subscription can be made by a call, cancelled, or held for a block."""

    def pack(event: Order) -> None:
        print(f"pack {event.item}")

    subscription = bus.on(Order, pack)
    await bus.emit(Order(item="lamp"))
    subscription.cancel()
    await bus.emit(Order(item="nothing, for nobody is subscribed"))
    with bus.on(Order, pack):
        await bus.emit(Order(item="desk"))


class Warehouse:
    """Take part in some events and watch others; ``bus.attach`` reads the marks."""

    def __init__(self) -> None:
        self.log: list[str] = []

    @handles(Order)
    def pack(self, event: Order) -> Veto | None:
        return Veto("lamps are sold out") if event.item == "lamp" else None

    @observes(Order)
    async def note(self, event: Order) -> None:
        self.log.append(event.item)


async def objects(bus: EventBus) -> None:
    """The marked methods of an object are attached and detached together."""
    warehouse = Warehouse()
    async with bus:
        attachment = bus.attach(warehouse)
        print("attached:", ", ".join(attachment.names()))
        print("vetoed:", (await bus.emit(Order(item="lamp"))).vetoed)
        await attachment.detach()  # once its observer has taken what waits for it
        print("vetoed after detaching:", (await bus.emit(Order(item="lamp"))).vetoed)
    print("observed:", ", ".join(warehouse.log))


async def observers_watch(bus: EventBus) -> None:
    """Each observer has its own queue: emit waits neither for a slow one nor for one that fails and is set aside."""
    taken: list[str] = []

    @bus.observe(Shipped)
    async def slow(event: Shipped) -> None:
        await anyio.sleep(0.02)
        taken.append(event.item)

    @bus.observe(Shipped)
    async def broken(event: Shipped) -> None:
        raise RuntimeError(f"no idea what a {event.item} is")

    @bus.on(ObserverSetAside)
    def alarm(event: ObserverSetAside) -> None:
        print(f"alarm: an observer of {event.event_type} failed {event.failures} times in a row with {event.error}")

    async with bus:
        for item in ("lamp", "desk", "chair", "shelf"):
            await bus.emit(Shipped(item=item))
        print("all are emitted; the slow one has taken", len(taken))
    print("closing has waited; the slow one has taken", len(taken))
    for each in bus.subscribers():
        if each.kind == "observer":
            print(f"{each.name}: {each.state} after {each.calls} events, {each.failures} failures")


async def events_as_a_stream(bus: EventBus) -> None:
    """A stream is an async iterator; cancelled, it ends after what is queued."""

    async def follow(shipped: EventStream[Shipped]) -> None:
        async for event in shipped:
            print("shipped:", event.item)
        print("the stream has ended")

    async with anyio.create_task_group() as group:
        with bus.stream(Shipped, where=lambda event: event.item != "secret") as shipped:
            group.start_soon(follow, shipped)
            for item in ("lamp", "secret", "desk"):
                await bus.emit(Shipped(item=item))


async def waiting_for_one_event(bus: EventBus) -> None:
    """wait_for returns the next event that fits, or raises when none comes in time."""

    async def ship() -> None:
        for item in ("lamp", "desk"):
            await bus.emit(Shipped(item=item))

    async with anyio.create_task_group() as group:
        group.start_soon(ship)
        desk = await bus.wait_for(Shipped, where=lambda event: event.item == "desk", timeout=5)
        print("it came:", repr(desk))
    try:
        await bus.wait_for(Order, timeout=0.01)
    except EventTimeoutError as error:
        print(f"{type(error).__name__}: {error}")


async def a_handler_emits(bus: EventBus) -> None:
    """A handler may emit: the inner event is done with when its emit returns."""

    @bus.on(Order)
    async def ship(event: Order) -> None:
        print(f"order of a {event.item}")
        await bus.emit(Shipped(item=event.item))
        print("the order goes on")

    @bus.on(Shipped)
    async def drive(event: Shipped) -> None:
        print(f"  the {event.item} is on its way")

    await bus.emit(Order(item="lamp"))


async def blinker_receivers(bus: EventBus) -> None:
    """Each event class has a blinker signal; a receiver connected to it takes part with priority 0."""

    def old_code(sender: EventBus, event: Shipped) -> None:
        print(f"a plain receiver got {event.item}, from the bus: {sender is bus}")

    signal: Signal = bus.signal(Shipped)
    signal.connect(old_code)
    await bus.emit(Shipped(item="lamp"))
    signal.disconnect(old_code)
    await bus.emit(Shipped(item="desk"))


async def who_is_there(bus: EventBus) -> None:
    """subscribers() tells who is on the bus, and how each is doing."""

    @bus.on(Order, priority=5, on_error="log")
    def clumsy(event: Order) -> None:
        if event.item == "vase":
            raise ValueError("it broke")

    async def count(event: ShopEvent) -> None: ...

    async with bus:
        with bus.stream(Shipped), bus.observe(ShopEvent, count) as counting:
            for event in (Order(item="lamp"), Order(item="vase"), Shipped(item="lamp")):
                await bus.emit(event)
            await counting.drained()  # the observer has taken what was queued for it
            print_table(bus)


def print_table(bus: EventBus) -> None:
    print(f"{'kind':<10}{'name':<20}{'event':<11}priority  calls  failures  queued  dropped")
    for each in bus.subscribers():
        who = f"{each.kind:<10}{each.name:<20}{each.event_type.__name__:<11}"
        print(f"{who}{each.priority:8}{each.calls:7}{each.failures:10}{each.queued:8}{each.dropped:9}")


async def how_a_test_looks_at_it(bus: EventBus) -> None:
    """The test kit records what happens on a bus, and what came of it."""

    @bus.on(Order)
    async def shop(event: Order) -> Veto | None:
        if event.item == "moon":
            return Veto("not for sale")
        await bus.emit(Shipped(item=event.item))
        return None

    with record(bus) as events:
        await bus.emit(Order(item="lamp"))
        await bus.emit(Order(item="moon"))
    shipped = await events.expect(Shipped, within_s=1)
    events.assert_order(Shipped, Order)  # the inner emit ends first
    events.assert_vetoed(Order, reason="not for sale")
    print(f"{len(events.events)} events; shipped: {shipped.item}; vetoes: {events.vetoes_of(Order)[0]}")


TOUR: tuple[Callable[[EventBus], Awaitable[None]], ...] = (
    handlers_run_in_order,
    one_veto_is_enough,
    options_of_a_handler,
    handlers_that_fail,
    ways_to_subscribe,
    objects,
    observers_watch,
    events_as_a_stream,
    waiting_for_one_event,
    a_handler_emits,
    blinker_receivers,
    who_is_there,
    how_a_test_looks_at_it,
)


async def main() -> None:
    for number, stop in enumerate(TOUR, start=1):
        print(f"\n{number}. {inspect.getdoc(stop)}")
        await stop(EventBus())


if __name__ == "__main__":
    sys.tracebacklimit = 0  # what fails here does so on purpose: the error's own line is enough
    logging.basicConfig(stream=sys.stdout, format="log: %(message)s")
    anyio.run(main, backend="trio" if "--trio" in sys.argv[1:] else "asyncio")
