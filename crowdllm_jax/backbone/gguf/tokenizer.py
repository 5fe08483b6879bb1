"""The tokenizer and chat template that a GGUF file carries, as a fast tokenizer.

Two kinds are read: byte-level BPE ("gpt2"), whose way of cutting text into words is known by the
name in `tokenizer.ggml.pre` alone, and SentencePiece's BPE ("llama").
"""

from typing import Any, NoReturn

import numpy as np

from crowdllm_jax.backbone.gguf.header import Header
from crowdllm_jax.errors import CrowdError

_UNKNOWN, _CONTROL, _USER, _BYTE = 2, 3, 4, 6  # types of tokens
_LONGEST = 1024  # characters of a token; those of real vocabularies have a few dozen

# How text is cut into words, by the name in the file: the expressions of the models' own
# tokenizers. The groups are those of llama.cpp, which gives the names.
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_AFTER_NUMBERS = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_AFTER_NUMBERS}"
_QWEN2 = rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_AFTER_NUMBERS}"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_WORDS = {
    "gpt-2": (_GPT2,),
    "smollm": (r"\p{N}", _GPT2),
    "llama3": (_LLAMA3,),
    "llama-v3": (_LLAMA3,),
    "llama-bpe": (_LLAMA3,),
    "qwen2": (_QWEN2,),
    "deepseek-r1-qwen": (_QWEN2,),
    "tekken": (_TEKKEN,),
}
_WHOLE_WORDS_FIRST = ("llama3", "llama-v3", "llama-bpe", "tekken")  # before any merge
_COMPOSED = ("qwen2", "deepseek-r1-qwen")  # text is brought to Unicode's form NFC
_BEGIN_ALWAYS = _WHOLE_WORDS_FIRST  # with a token, unless the file says no


def tokenizer_of(header: Header) -> Any:
    """The file's tokenizer, with its chat template if it has one (which transformers renders in a
    sandbox).

    Raises CrowdError naming the file: the kind of tokenizer is unknown, or its parts do not fit.
    """
    from transformers import PreTrainedTokenizerFast

    v = _Vocabulary(header)
    make = {"gpt2": _byte_level, "llama": _sentencepiece}.get(v.model)
    if make is None:
        v.refuse(f"`tokenizer.ggml.model` is {v.model!r}; it may be: gpt2, llama")
    try:
        raw = make(v)
        _add_special(raw, v)
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=raw, clean_up_tokenization_spaces=False, **v.named()
        )
    except CrowdError:
        raise
    except Exception as error:  # the tokenizers package raises its own for what does not fit
        v.refuse(f"its tokenizer does not hold together ({str(error)[:200]}); download it again")
    tokenizer.name_or_path = str(header.path)
    tokenizer.chat_template = v.get("tokenizer.chat_template", str, None)
    return tokenizer


class _Vocabulary:
    """The `tokenizer.ggml` part of the metadata, checked."""

    def __init__(self, header: Header) -> None:
        self.path, self._metadata = header.path, header.metadata
        self.model: str = self.get("tokenizer.ggml.model", str)
        self.pre: str = self.get("tokenizer.ggml.pre", str, "default")
        tokens: list[str] = self.get("tokenizer.ggml.tokens", list)
        longest = max(tokens, key=len, default="")
        if not longest or len(longest) > _LONGEST:
            self.refuse(f"its tokens have up to {len(longest)} characters; download it again")
        # llama.cpp names empty ones by their place.
        self.tokens = [token or f"[EMPTY_{i}]" for i, token in enumerate(tokens)]
        self.ids = {token: i for i, token in enumerate(self.tokens)}
        if len(self.ids) != len(self.tokens):
            self.refuse("a token is in its vocabulary twice; download it again")
        kinds = self.get("tokenizer.ggml.token_type", np.ndarray, np.ones(len(tokens), np.int32))
        self.kinds = self.one_each(kinds, "token_type")

    def get(self, key: str, sort: type, *default: Any) -> Any:
        value = self._metadata.get(key, *default)
        if key not in self._metadata and not default:
            self.refuse(f"`{key}` is missing; a file that holds a whole model is needed")
        if not isinstance(value, sort) and not (default and value is default[0]):
            self.refuse(f"`{key}` is not of the expected kind; download it again")
        return value

    def one_each(self, values: np.ndarray, key: str) -> np.ndarray:
        if len(values) != len(self.tokens):
            self.refuse(
                f"`tokenizer.ggml.{key}` has {len(values)} entries for {len(self.tokens)} tokens; "
                "download it again"
            )
        return values

    def of_kind(self, kind: int) -> list[str]:
        return [self.tokens[i] for i in np.flatnonzero(self.kinds == kind)]

    def named(self) -> dict[str, str]:
        """The tokens with a role, by transformers' names of the roles."""
        keys = {
            "bos_token": "bos",
            "eos_token": "eos",
            "unk_token": "unknown",
            "pad_token": "padding",
        }
        tokens = {}
        for role, key in keys.items():
            number = self.get(f"tokenizer.ggml.{key}_token_id", int, None)
            # As llama.cpp does, a number without a token counts as none.
            if number is not None and 0 <= number < len(self.tokens):
                tokens[role] = self.tokens[number]
        return tokens

    def flag(self, name: str, default: bool) -> bool:
        return bool(self.get(f"tokenizer.ggml.{name}", bool, default))

    def refuse(self, what: str) -> NoReturn:
        raise CrowdError(f"{self.path}: {what}")


def _byte_level(v: _Vocabulary) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    if v.pre not in _WORDS:
        v.refuse(
            f"`tokenizer.ggml.pre` is {v.pre[:80]!r}, a way of cutting text into words that is not "
            f"known here; it may be: {', '.join(_WORDS)}. The model as a Hugging Face folder "
            "carries it along"
        )
    merges = []
    for merge in v.get("tokenizer.ggml.merges", list):
        middle = merge.find(" ", 1)
        if middle < 0:
            v.refuse(f"the merge {merge[:80]!r} is not of two parts; download it again")
        merges.append((merge[:middle], merge[middle + 1 :]))
    raw = Tokenizer(models.BPE(v.ids, merges, ignore_merges=v.pre in _WHOLE_WORDS_FIRST))
    if v.pre in _COMPOSED:
        raw.normalizer = normalizers.NFC()
    cuts = [pre_tokenizers.Split(Regex(e), "isolated") for e in _WORDS[v.pre]]
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.pre_tokenizer = pre_tokenizers.Sequence([*cuts, bytes_])
    raw.decoder = decoders.ByteLevel()
    return raw


def _sentencepiece(v: _Vocabulary) -> Any:
    """SentencePiece joins the neighbours whose union has the best score; BPE wants a list of pairs,
    best first."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    if v.pre != "default":
        v.refuse(f"`tokenizer.ggml.pre` is {v.pre[:80]!r}; with the model llama it may be: default")
    if v.flag("remove_extra_whitespaces", False):
        v.refuse("`tokenizer.ggml.remove_extra_whitespaces` is true, which is not supported")
    scores = v.one_each(v.get("tokenizer.ggml.scores", np.ndarray), "scores")
    merges = [
        (token[:i], token[i:])
        for token in (v.tokens[i] for i in np.argsort(-scores, kind="stable"))
        for i in range(1, len(token))
        if token[:i] in v.ids and token[i:] in v.ids
    ]
    unknown = v.of_kind(_UNKNOWN)
    raw = Tokenizer(
        models.BPE(
            v.ids,
            merges,
            unk_token=unknown[0] if unknown else v.named().get("unk_token"),
            fuse_unk=True,
            byte_fallback=bool(v.of_kind(_BYTE)),
        )
    )
    steps = [normalizers.Prepend("▁")] if v.flag("add_space_prefix", True) else []
    raw.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    raw.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return raw


def _add_special(raw: Any, v: _Vocabulary) -> None:
    """Tokens that are found in the text before it is cut, and those put around it."""
    from tokenizers import AddedToken
    from tokenizers.processors import TemplateProcessing

    raw.add_tokens([AddedToken(t, normalized=False) for t in v.of_kind(_USER)])
    raw.add_special_tokens(
        [AddedToken(t, normalized=False, special=True) for t in v.of_kind(_CONTROL)]
    )
    sentencepiece, named = v.model == "llama", v.named()
    begin = v.flag("add_bos_token", sentencepiece or v.pre in _BEGIN_ALWAYS)
    around = [
        named[role] if wanted and role in named else None
        for role, wanted in (("bos_token", begin), ("eos_token", v.flag("add_eos_token", False)))
    ]
    text = [t for t in (around[0], "$A", around[1]) if t is not None]
    special = [(t, v.ids[t]) for t in around if t is not None]
    if special:
        raw.post_processor = TemplateProcessing(single=text, special_tokens=special)
