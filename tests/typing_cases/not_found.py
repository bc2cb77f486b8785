"""Mistakes that a type checker should find as well: each line with the mark."""

from eventinit import Veto, handles
from eventinit.events import PreDownload, PreEngineInit


class Listener:
    @handles(PreDownload)  # error
    async def of_another(self, event: PreEngineInit) -> None: ...

    @handles(PreEngineInit)  # error
    async def veto(self, event: PreEngineInit) -> Veto:
        return Veto("no")
