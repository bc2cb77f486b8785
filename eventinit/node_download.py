"""The download of one node, with its events: on the node of the service, and on every other."""

from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from functools import partial

from eventinit.bus import EventBus
from eventinit.callback import ConfiguredSubscribers, load_subscribers
from eventinit.config import LLMConfig
from eventinit.context import NodeInitializationContext
from eventinit.errors import DottedPathError, HandlerError
from eventinit.events import PostNodeDownload, PreNodeDownload
from eventinit.latest import INTERVAL_S
from eventinit.luggage import not_on_node, unpack
from eventinit.ports import DownloadRequest, DownloadResult, OpenSource, Report
from eventinit.threads import GRACE_S, run_in_thread


@dataclass(frozen=True, slots=True)
class NodeDownload:
    """What one node fetches for a start.

    Attributes:
        start_id: The start that it belongs to.
        node_id: The cluster's id of the node; an empty string is the node of the service.
        request: What is fetched.
        luggage: What the configuration's subscribers need on another node; None when none handles its events.
        report_interval_s: How many seconds there are at least between two reports of the progress.
    """

    start_id: str
    node_id: str
    request: DownloadRequest
    luggage: bytes | None = None
    report_interval_s: float = INTERVAL_S

    async def run(self, open_source: OpenSource, report: Report) -> DownloadResult:
        """Fetch on another node, with the configuration's subscribers on a bus of the node's own.

        Raises:
            DownloadError: The files cannot be had; the class says why.
            HandlerError: A handler failed there.
            ConfigError: A subscriber cannot be had there.
        """
        if self.luggage is None:
            return await self._fetch(open_source, report)
        config, context = unpack(self.luggage, self.node_id)
        async with AsyncExitStack() as house:
            subscribers = await self._load(config)
            bus = await house.enter_async_context(EventBus())
            for attachment in subscribers.attach(bus):
                house.push_async_callback(attachment.detach)
            try:
                return await self.run_on(bus, context, open_source, report)
            except HandlerError as error:
                cause = error.__cause__ or error
                raise HandlerError(error.handler, error.event, error.phase, cause, self.node_id) from cause

    async def run_on(
        self, bus: EventBus, context: NodeInitializationContext, open_source: OpenSource, report: Report
    ) -> DownloadResult:
        """Fetch on this node, with the events on a bus that is there."""
        about = {
            "start_id": self.start_id,
            "context": context,
            "node_id": self.node_id,
            "mode": self.request.mode,
            "is_local": not self.node_id,
        }
        await bus.emit(PreNodeDownload.model_validate(about))
        result = await self._fetch(open_source, report)
        await bus.emit(PostNodeDownload.model_validate({**asdict(result), **about}))
        return result

    async def _fetch(self, open_source: OpenSource, report: Report) -> DownloadResult:
        source = open_source(*self.request.sources, settings=self.request.settings)
        return await source.fetch(self.request.mode, report)

    async def _load(self, config: LLMConfig) -> ConfiguredSubscribers:
        try:
            return await run_in_thread(partial(load_subscribers, config), name="load subscribers", patience_s=GRACE_S)
        except DottedPathError as error:
            raise not_on_node(error, self.node_id) from error
