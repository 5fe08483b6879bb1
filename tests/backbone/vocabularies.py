"""Tokenizers trained in the test, each with one of the quirks that real ones have."""

from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

TEXT = [
    "How offensive is this comment ? You are all fools !",
    "The new park costs 100 or 1250 euros a year . Answer with one option :",
    "Answer: 1 2 3 4 5 10 agree disagree strongly not at all very",
    "- 1\n- 2\n- 3\n\nAnswer as this person would: a nurse of 42 years from the north",
] * 4
SPECIAL = ["<pad>", "<s>", "</s>", "<|user|>", "<|assistant|>", "<|end|>"]
CHAT = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>\n{{ m.content | trim }}<|end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n"
    "{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
ALWAYS_THINKS = (
    "{% for m in messages %}<|user|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
)


def _train(raw: Tokenizer, size: int, **more: object) -> Tokenizer:
    raw.train_from_iterator(
        TEXT, trainers.BpeTrainer(vocab_size=size, special_tokens=SPECIAL, **more)
    )
    return raw


def sentencepiece(size: int = 160) -> Tokenizer:
    """As Llama 2: a space is the token "▁", digits stand alone, so " 1" is two tokens; BOS."""
    raw = Tokenizer(models.BPE(unk_token="<pad>", byte_fallback=False))
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d"), "isolated"),
            pre_tokenizers.Split("▁", "merged_with_next"),
        ]
    )
    raw.decoder = decoders.Metaspace()
    _train(raw, size)
    raw.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return raw


def bytelevel(digits: bool = True, size: int = 400) -> Tokenizer:
    """As Qwen (digits split) or GPT-2 (not): bytes, a word carries its leading space."""
    raw = Tokenizer(models.BPE())
    steps = [pre_tokenizers.Digits(individual_digits=True)] if digits else []
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False))
    raw.pre_tokenizer = pre_tokenizers.Sequence(steps)
    raw.decoder = decoders.ByteLevel()
    return _train(raw, size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())


def greedy(size: int = 300) -> Tokenizer:
    """No words at all: merges run across spaces and line ends, so prompt and option may merge."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = None
    raw.train_from_iterator(
        ["Answer: 1", "Answer: 2"] * 20 + TEXT,
        trainers.BpeTrainer(vocab_size=size, special_tokens=SPECIAL, min_frequency=4),
    )
    return raw


def wrap(raw: Tokenizer, chat: str | None = None) -> PreTrainedTokenizerFast:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    tokenizer.chat_template = chat
    return tokenizer


def save(raw: Tokenizer, folder: Path, chat: str | None = None) -> PreTrainedTokenizerFast:
    tokenizer = wrap(raw, chat)
    tokenizer.save_pretrained(folder)
    return tokenizer
