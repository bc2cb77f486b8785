"""Fakes of everything outside the process, for tests of handlers and of programs that start nodes.

fakes = Fakes()
async with initialize_node(config, bus=bus, backends=fakes.backends()) as node: ...
assert fakes.left_behind() == []
"""

from eventinit.testing.cluster import FakeCluster, FakeGroup
from eventinit.testing.engine import FakeEngine, FakeEngineBackend
from eventinit.testing.fakes import Fakes
from eventinit.testing.source import FakeSource

__all__ = ["FakeCluster", "FakeEngine", "FakeEngineBackend", "FakeGroup", "FakeSource", "Fakes"]
