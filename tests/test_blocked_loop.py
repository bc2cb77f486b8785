"""The test of the test: a blocking call is caught, an honest wait is not."""

import time

import anyio
import pytest

from eventinit import Event, EventBus
from tests.blocked_loop import watch_loop


class Ping(Event):
    pass


@pytest.mark.anyio
async def test_a_handler_that_blocks_the_loop_is_caught() -> None:
    bus = EventBus()
    bus.on(Ping, lambda _event: time.sleep(0.4))
    async with watch_loop() as watch:
        await anyio.sleep(0.05)
        await bus.emit(Ping())
        await anyio.sleep(0.05)
    assert "time.sleep(0.4)" in watch.blocked[0]
    assert max(lag for _, lag in watch.lags) > 0.3


@pytest.mark.anyio
async def test_a_handler_that_awaits_is_not() -> None:
    bus = EventBus()

    @bus.on(Ping)
    async def patient(_event: Ping) -> None:
        await anyio.sleep(0.4)

    async with watch_loop() as watch:
        await bus.emit(Ping())
    assert watch.blocked == []
