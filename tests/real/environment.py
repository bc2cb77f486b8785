"""What the real parts need to stay small, quiet and off the network."""

import psutil

SMALL_AND_OFFLINE = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "SPT_NOENV": "1",  # or vLLM's processes wipe their environment when they set their titles
}

TINY_ENGINE = {"max_model_len": 128, "enforce_eager": True, "dtype": "bfloat16"}


def processes_with(name: str, value: str) -> list[str]:
    """Return the command lines of all processes of the machine that were started with an environment variable."""
    found: list[str] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(name) == value:
                found.append(" ".join(process.cmdline())[:120])
        except psutil.Error:
            continue
    return found


def processes_of_a_node(root: psutil.Process) -> list[str]:
    """Return the command lines of engine and Ray processes below a process."""
    found: list[str] = []
    for process in root.children(recursive=True):
        try:
            line = " ".join(process.cmdline()) or process.name()
        except psutil.NoSuchProcess:
            continue
        if any(word in line for word in ("VLLM", "ray::", "raylet", "gcs_server", "spawn_main")):
            found.append(line[:120])
    return found
