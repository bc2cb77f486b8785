"""What the simulated cluster and store are made of."""

from dataclasses import dataclass
from math import ceil, log2

from eventinit.downloads.shared_folder import MOST_CHUNK_BYTES


@dataclass(frozen=True, slots=True)
class Hardware:
    """Sizes and speeds; bytes and seconds.

    Attributes:
        model_bytes: The size of the model.
        model_files: In how many files it is.
        store_rate: What the store gives to all readers together.
        connection_rate: What it gives over one connection.
        node_rate: What a node's network carries, in each direction.
        answer_rate: How many requests for a chunk the process answers that serves a folder to peers.
        worker_start_s: How long a node takes at least until its first fetch begins, and how much longer at most.
        submit_s: How long after the one before a task reaches its node.
        busy_share: Which share of the nodes others use when the group is asked for; these become free one by one.
        busy_s: When the last of them is free.
        engine_s: How long the engine starts.
    """

    model_bytes: int = 140_000_000_000
    model_files: int = 30
    store_rate: float = 100e9
    connection_rate: float = 100e6
    node_rate: float = 25e9 / 8
    answer_rate: float = 2_000.0
    worker_start_s: tuple[float, float] = (2.0, 4.0)
    submit_s: float = 0.001
    busy_share: float = 0.1
    busy_s: float = 60.0
    engine_s: float = 60.0

    def read_rate(self, connections: int) -> float:
        """Return how fast one node reads a store that nobody else reads."""
        return min(self.node_rate, self.connection_rate * connections)

    def receive_rate(self, receivers: int, requests: int) -> float:
        """Return how fast each of the receivers of a broadcast gets the model.

        All of them want the same chunk at about the same time. The nodes that have it pass it on, each to one other, so
        it takes as many rounds as the number of nodes can be halved; the chunks that are requested at the same time
        fill the nodes' networks meanwhile. And every receiver asks the serving process for every chunk.
        """
        rounds = ceil(log2(receivers + 1))
        return min(self.node_rate * min(1.0, requests / rounds), self.answer_rate * MOST_CHUNK_BYTES / receivers)
