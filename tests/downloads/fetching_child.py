"""A process that fetches the model from a slow scripted store: for tests that end it by force."""

import asyncio
import sys
from pathlib import Path

from eventinit.downloads.store_source import StoreSource
from tests.downloads.scripted_store import MODEL, ScriptedStore


async def main(ledger: Path, pace_s: float) -> None:
    store = ScriptedStore(MODEL, ledger=ledger, pace_s=pace_s)
    result = await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", lambda _: None)
    print(result.bytes_fetched)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2])))
