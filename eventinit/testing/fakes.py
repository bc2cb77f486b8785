"""All fakes of one start together."""

from dataclasses import dataclass, field

from eventinit.ports import Backends, DownloadSettings
from eventinit.testing.cluster import FakeCluster
from eventinit.testing.engine import FakeEngineBackend
from eventinit.testing.source import FakeSource


@dataclass(slots=True)
class Fakes:
    """A fake source, cluster and engine; set how long they take and how they fail on each of them.

    Attributes:
        source: Where the model's files come from, for this node.
        cluster: What groups are reserved on.
        engine: What starts engines.
    """

    source: FakeSource = field(default_factory=FakeSource)
    cluster: FakeCluster = field(default_factory=FakeCluster)
    engine: FakeEngineBackend = field(default_factory=FakeEngineBackend)

    def backends(self) -> Backends:
        """Return what ``initialize_node`` takes."""
        return Backends(open_source=self._open, cluster=lambda: self.cluster, engine=self.engine)

    def _open(self, model_source: str, *mirrors: str, settings: DownloadSettings) -> FakeSource:
        return self.source

    def left_behind(self) -> list[str]:
        """Return what a start has made and not taken back: groups, engines, a running cluster; one text for each."""
        groups = [f"group of {len(group.bundles)}" for group in self.cluster.groups if not group.removed]
        engines = [f"engine of {engine.request.arguments['model']}" for engine in self.engine.engines if engine.running]
        return groups + engines + (["a running cluster"] if self.cluster.running else [])
