"""Everyone who takes part."""

from tests.benchmarks.downloads.libraries import LIBRARIES
from tests.benchmarks.downloads.ours import EventInit, EventInitFull, EventInitHub
from tests.benchmarks.downloads.programs import PROGRAMS
from tests.benchmarks.downloads.reader import PlainReader
from tests.benchmarks.downloads.task import Contender

_ALL: tuple[type[Contender], ...] = (EventInit, EventInitFull, EventInitHub, *LIBRARIES, *PROGRAMS, PlainReader)

CONTENDERS: dict[str, type[Contender]] = {kind.name: kind for kind in _ALL}
