"""Which files of a model each download mode fetches."""

from fnmatch import fnmatchcase

from eventinit.ports import DownloadMode

TOKENIZER_PATTERNS = (
    # what transformers and vLLM read to know the model and how it generates
    "config.json",
    "configuration.json",
    "generation_config.json",
    "params.json",
    "hf_quant_config.json",
    # tokenizers: fast, sentencepiece, byte-pair, word-piece, tiktoken and mistral's own
    "tokenizer*",
    "tokenization*.py",
    "configuration_*.py",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "sentencepiece*.model",
    "*.tiktoken",
    "tekken.json",
    # processors of multimodal models
    "preprocessor_config.json",
    "processor_config.json",
    "image_processor_config.json",
    "video_preprocessor_config.json",
    "feature_extractor_config.json",
    "processing_*.py",
    "image_processing_*.py",
    # chat templates
    "chat_template*",
    "additional_chat_templates/*",
)
"""Names, relative to the model's folder, of what a tokenizer is built from. ``*`` matches ``/`` too, as on the Hub."""

_WEIGHTS = "*.safetensors"


def allow_patterns(mode: DownloadMode) -> list[str] | None:
    """Return the patterns of which a fetched file matches one, or None when any name will do."""
    if mode == "NONE":
        return []
    return list(TOKENIZER_PATTERNS) if mode == "TOKENIZER_ONLY" else None


def ignore_patterns(mode: DownloadMode) -> list[str] | None:
    """Return the patterns of which a fetched file matches none, or None when there are no such."""
    return [_WEIGHTS] if mode in {"TOKENIZER_ONLY", "EXCLUDE_SAFETENSORS"} else None


def is_wanted(mode: DownloadMode, name: str) -> bool:
    """Return whether a mode fetches the file with this name, given relative to the model's folder."""
    allowed, ignored = allow_patterns(mode), ignore_patterns(mode)
    if ignored and _matches(name, ignored):
        return False
    return allowed is None or _matches(name, allowed)


def _matches(name: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
