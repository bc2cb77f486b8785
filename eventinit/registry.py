"""Who is subscribed to a bus."""

from threading import RLock
from typing import final

from eventinit.errors import BusError
from eventinit.event import Event
from eventinit.lane import Lane
from eventinit.plan import Plan
from eventinit.signals import HandlerSignals
from eventinit.subscription import SubscriberStatus, Subscription


@final
class Registry:
    """The handlers and lanes of a bus, and for each event class that was emitted the plan of who gets it.

    Plans are forgotten when anything changes. It may be used from any thread.

    Attributes:
        signals: The handlers.
        plans: What has been worked out so far, by event class.
    """

    def __init__(self, sender: object) -> None:
        self._lock = RLock()
        self._lanes: dict[int, Lane] = {}
        self.signals = HandlerSignals(sender, self._lock, on_change=self._forget_plans, settle=self._settle)
        self.plans: dict[type[Event], Plan] = {}

    def plan_of(self, kind: type[Event]) -> Plan:
        """Work out and keep who gets the events of a class.

        Raises:
            BusError: It is no event class.
        """
        if not issubclass(kind, Event):  # pyright: ignore[reportUnnecessaryIsInstance]
            what = "a class" if issubclass(kind, type) else f"a {kind.__name__}"
            raise BusError(f"{what} is no event; emit an instance of a class that derives from Event, as in Ping()")
        with self._lock:
            lanes = [lane for lane in self.lanes() if issubclass(kind, lane.event_type)]
            plan = self.plans[kind] = Plan(kind, self.signals.handlers_of(kind), lanes)
            return plan

    def add(self, lane: Lane) -> None:
        """Take a lane in."""
        with self._lock:
            self._lanes[id(lane)] = lane
            self._forget_plans()

    def remove(self, lane: Subscription) -> None:
        """Let a lane go."""
        with self._lock:
            self._lanes.pop(id(lane), None)
            self._forget_plans()

    def lanes(self) -> list[Lane]:
        """Return the lanes in the order in which they came."""
        return list(self._lanes.values())

    def statuses(self) -> tuple[SubscriberStatus, ...]:
        """Return how everybody is doing, handlers first."""
        with self._lock:
            return tuple(each.status() for each in (*self.signals.all(), *self.lanes()))

    def _settle(self) -> None:
        with self._lock:
            for plan in list(self.plans.values()):
                plan.settle()

    def _forget_plans(self) -> None:
        for plan in list(self.plans.values()):
            plan.retire()
        self.plans.clear()
