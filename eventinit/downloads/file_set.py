"""Which files of a model each download mode fetches."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from eventinit.ports import DownloadMode, DownloadSettings

TOKENIZER_PATTERNS = (
    # what transformers and vLLM read to know the model and how it generates
    "config.json",
    "configuration.json",
    "generation_config.json",
    "params.json",
    "hf_quant_config.json",
    "adapter_config.json",
    # code that a model brings along: a tokenizer's module may import any other
    "*.py",
    # tokenizers: fast, sentencepiece, byte-pair, word-piece, tiktoken and mistral's own
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*.json",
    "vocab*.txt",
    "entity_vocab.json",
    "target_vocab.json",
    "merges.txt",
    "bpe.codes",
    "dict.txt",
    "normalizer.json",
    "byte_maps.json",
    "emoji.json",
    "spiece.model",
    "spm*.model",
    "sentencepiece*.model",
    "language_model.model",
    "tiktoken.model",
    "*.tiktoken",
    "tekken.json",
    "audio_tokenizer_config.json",
    # processors of multimodal models
    "preprocessor_config.json",
    "processor_config.json",
    "image_processor_config.json",
    "video_preprocessor_config.json",
    "feature_extractor_config.json",
    # how an embedding model pools, which vLLM reads with its configuration
    "modules.json",
    "sentence_*_config.json",
    "config_sentence_transformers.json",
    "*_Pooling/config.json",
    # chat templates
    "chat_template*",
    "additional_chat_templates/*",
)
"""Names, relative to the model's folder, of what a tokenizer is built from. ``*`` matches ``/`` too, as on the Hub."""

_WEIGHTS = "*.safetensors"
DEFAULTS = DownloadSettings()


def allow_patterns(mode: DownloadMode) -> list[str] | None:
    """Return the patterns of which a fetched file matches one, or None when any name will do."""
    if mode == "NONE":
        return []
    return list(TOKENIZER_PATTERNS) if mode == "TOKENIZER_ONLY" else None


def ignore_patterns(mode: DownloadMode) -> list[str] | None:
    """Return the patterns of which a fetched file matches none, or None when there are no such."""
    return [_WEIGHTS] if mode in {"TOKENIZER_ONLY", "EXCLUDE_SAFETENSORS"} else None


def is_wanted(mode: DownloadMode, name: str, settings: DownloadSettings = DEFAULTS) -> bool:
    """Return whether a mode fetches the file with this name, given relative to the model's folder.

    ``include`` and ``exclude`` of the settings narrow what the mode fetches.
    """
    allowed, ignored = allow_patterns(mode), ignore_patterns(mode) or []
    if _matches(name, [*ignored, *settings.exclude]):
        return False
    if settings.include and not _matches(name, settings.include):
        return False
    return allowed is None or _matches(name, allowed)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
