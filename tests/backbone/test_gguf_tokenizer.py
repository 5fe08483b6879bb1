"""The tokenizer of a GGUF file: the ids of the tokenizer it was made from."""

from itertools import pairwise

import gguf_files
import pytest
import vocabularies
from gguf import GGUFWriter, TokenType
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from crowdllm_jax.backbone.gguf.header import read_header
from crowdllm_jax.backbone.gguf.tokenizer import tokenizer_of
from crowdllm_jax.backbone.hub import load_tokenizer
from crowdllm_jax.errors import CrowdError

SAMPLE = (
    "The nurse's car can't cost 1250 or 7 EUROS: DON'T! ünïcödé ÉCOLE été привет 你好 हिन्दी ١٢٣ "
    "CamelCase x==y;\r\n//a/b\n\n\n  \tend   "
)
TEXTS = st.lists(
    st.one_of(st.sampled_from([*SAMPLE.split(" "), " ", "  ", "\n\n", "<|user|>"]), st.text()),
    max_size=8,
).map("".join)
# The expressions in the tokenizer.json of Llama 3 and Qwen 2.
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def words(pre):
    """How the models' own tokenizers cut, made of the parts that theirs are made of."""
    level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if pre == "gpt-2":
        return level
    if pre == "smollm":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), level])
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    split = pre_tokenizers.Split(Regex(LLAMA3 if pre == "llama-bpe" else QWEN2), "isolated")
    return pre_tokenizers.Sequence([split, level])


@pytest.fixture(scope="module", params=["gpt-2", "smollm", "llama-bpe", "qwen2"])
def pair(request, tmp_path_factory):
    """A tokenizer whose merges run across words, so that every cut shows, and the one read."""
    raw = Tokenizer(models.BPE(ignore_merges=request.param == "llama-bpe"))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=vocabularies.SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=14,
    )
    raw.train_from_iterator([SAMPLE, *SAMPLE.split(" "), *vocabularies.TEXT] * 2, trainer)
    raw.pre_tokenizer = words(request.param)
    path = tmp_path_factory.mktemp("vocabulary") / "words.gguf"
    return raw, write(path, gguf_files.tokenizer_of(raw, request.param, vocabularies.CHAT))


def write(path, *changes):
    writer = GGUFWriter(path, "llama")
    for change in changes:
        change(writer)
    gguf_files.finish(writer)
    return tokenizer_of(read_header(path))


@given(text=TEXTS)
def test_byte_level_ids(pair, text):
    raw, found = pair
    text = text.replace("\u0344", "")  # NFC, which Qwen's has, would change these
    if found.backend_tokenizer.normalizer is not None:
        text = found.backend_tokenizer.normalizer.normalize_str(text)
    ids = found(text, add_special_tokens=False)["input_ids"]
    assert ids == raw.encode(text, add_special_tokens=False).ids


def test_roles_and_template(pair):
    raw, found = pair
    assert (found.bos_token, found.eos_token) == ("<s>", "</s>")
    assert found.chat_template == vocabularies.CHAT
    assert found.added_tokens_decoder[raw.token_to_id("<|user|>")].special
    starts = found("a")["input_ids"][0] == raw.token_to_id("<s>")
    assert starts == found.backend_tokenizer.model.ignore_merges  # Llama 3 begins a text


PIECES = ["▁", "t", "h", "e", "th", "he", "▁t", "▁th", "the", "▁the", "n", "s", "en", "ne", "hen"]


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    """A SentencePiece vocabulary, best first, with bytes and a token of the user's."""
    tokens = ["<unk>", "<s>", "</s>", "\n\n", *(f"<0x{i:02X}>" for i in range(256)), *PIECES]
    kinds = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL, TokenType.USER_DEFINED]
    kinds += [TokenType.BYTE] * 256 + [TokenType.NORMAL] * len(PIECES)

    def vocabulary(w):
        w.add_tokenizer_model("llama")
        w.add_token_list(tokens)
        w.add_token_types(kinds)
        w.add_token_scores([0.0] * 260 + [-float(i) for i in range(len(PIECES))])
        w.add_bos_token_id(1)

    return tokens, write(tmp_path_factory.mktemp("pieces") / "pieces.gguf", vocabulary)


def sentencepiece(text, tokens):
    """The definition: join the neighbours whose union scores best, the leftmost of equals."""
    symbols = list("▁" + text.replace(" ", "▁")) if text else []
    while True:
        joined = [left + right for left, right in pairwise(symbols)]
        known = [(PIECES.index(s), i) for i, s in enumerate(joined) if s in PIECES]
        if not known:
            break
        i = min(known)[1]
        symbols[i : i + 2] = [joined[i]]
    return [
        number
        for s in symbols
        for number in ([tokens.index(s)] if s in PIECES else [4 + b for b in s.encode()])
    ]


@given(text=st.text("thens xé", max_size=30))
def test_sentencepiece_ids(pieces, text):
    tokens, found = pieces
    assert found(text, add_special_tokens=False)["input_ids"] == sentencepiece(text, tokens)


def test_sentencepiece_around_a_token(pieces):
    tokens, found = pieces
    ids = found("the\n\nthe")["input_ids"]
    # llama.cpp too puts its space behind a token found in the text.
    assert [tokens[i] for i in ids] == ["<s>", "▁the", "\n\n", "▁the"]
    assert found.decode(ids[1:2]).strip() == "the"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda w: w.add_tokenizer_pre("chameleon"),
            "`tokenizer.ggml.pre` is 'chameleon'.*llama-bpe",
        ),
        (lambda w: w.add_token_merges(["ab"]), "the merge 'ab' is not of two parts"),
        (lambda w: w.add_token_merges(["nope never"]), "does not hold together"),
    ],
)
def test_what_does_not_fit(tmp_path, change, message):
    def overwrite(writer):
        gguf_files.tokenizer_of(vocabularies.bytelevel(), "smollm")(writer)
        writer.kv_data[0] = gguf_files.Forgetful(writer.kv_data[0])
        change(writer)

    with pytest.raises(CrowdError, match=message):
        write(tmp_path / "words.gguf", overwrite)


def test_a_file_without_a_tokenizer(tmp_path):
    writer = GGUFWriter(tmp_path / "bare.gguf", "llama")
    gguf_files.finish(writer)
    with pytest.raises(CrowdError, match=r"bare\.gguf: `tokenizer\.ggml\.model` is missing"):
        load_tokenizer(tmp_path / "bare.gguf")
