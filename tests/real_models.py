"""Models that are made on the spot, small enough for a test and real enough for vLLM."""

import importlib
from pathlib import Path
from typing import Any

_SPECIAL = ("<unk>", "<s>", "</s>")
_CORPUS = ["the quick brown fox jumps over the lazy dog", "an engine starts, answers and stops", "0123456789"]
_CHAT_TEMPLATE = "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}"


def build_tiny_llama(folder: Path) -> Path:
    """Write a two-layer Llama with random weights, always the same, and its tokenizer; return the folder."""
    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")
    tokenizer = _tokenizer(transformers)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    transformers.LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer(transformers: Any) -> Any:
    tokenizers: Any = importlib.import_module("tokenizers")
    raw = tokenizers.ByteLevelBPETokenizer()
    raw.train_from_iterator(_CORPUS, vocab_size=300, special_tokens=list(_SPECIAL), show_progress=False)
    unk, bos, eos = _SPECIAL
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw._tokenizer,
        unk_token=unk,
        bos_token=bos,
        eos_token=eos,
        chat_template=_CHAT_TEMPLATE,
    )
