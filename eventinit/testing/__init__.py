"""What tests of handlers and of programs that start nodes need: fakes, a recorder of events, time that stands still.

fakes = Fakes()
with record(bus) as events, frozen_time() as clock:
    async with initialize_node(config, bus=bus, backends=fakes.backends()) as node: ...
events.assert_order(PreDownload, PostDownload, PostInitialization)
assert fakes.left_behind() == []
"""

from eventinit.testing.cluster import FakeCluster, FakeGroup
from eventinit.testing.engine import FakeEngine, FakeEngineBackend
from eventinit.testing.fakes import Fakes
from eventinit.testing.frozen_time import FrozenClock, frozen_time
from eventinit.testing.recorder import Recorder, record
from eventinit.testing.source import FakeSource

__all__ = [
    "FakeCluster",
    "FakeEngine",
    "FakeEngineBackend",
    "FakeGroup",
    "FakeSource",
    "Fakes",
    "FrozenClock",
    "Recorder",
    "frozen_time",
    "record",
]
