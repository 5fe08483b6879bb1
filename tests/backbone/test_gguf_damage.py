"""Damaged and forged GGUF files: one message that names the file, in bounded memory and time."""

import struct
import subprocess
import sys
from pathlib import Path

import families
import gguf_files
import numpy as np
import pytest
import vocabularies
from gguf import GGUFWriter

from crowdllm_jax.backbone.gguf.header import read_header
from crowdllm_jax.backbone.hub import load_tokenizer
from crowdllm_jax.backbone.questions import Prompt, Question
from crowdllm_jax.backbone.tokens import encode
from crowdllm_jax.backbone.weights import load
from crowdllm_jax.errors import CrowdError

MUTANTS = Path(__file__).with_name("gguf_mutants.py")
COUNT, MEMORY = 150, 300 << 20


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A file with every part: biases, rope factors, merges and a chat template."""
    folder = tmp_path_factory.mktemp("whole")
    raw = vocabularies.bytelevel()
    families.make("llama3", folder, vocab_size=raw.get_vocab_size())
    tokens = gguf_files.tokenizer_of(raw, "smollm", vocabularies.CHAT)
    return gguf_files.convert(folder, folder / "whole.gguf", tokens=tokens)


def test_random_damage(whole):
    ran = subprocess.run(
        [sys.executable, str(MUTANTS), str(whole), str(COUNT), str(MEMORY)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    refused, loaded = map(int, ran.stdout.split())
    assert refused + loaded == COUNT
    # Some damage is to weights or names that nobody reads; most is to what is checked.
    assert refused > COUNT * 0.7
    assert loaded > 0


def test_cut_anywhere(whole, tmp_path):
    data = whole.read_bytes()
    short = tmp_path / "short.gguf"
    for length in np.unique(np.geomspace(5, len(data) - 1, 80).astype(int)):
        short.write_bytes(data[:length])
        with pytest.raises(CrowdError, match=r"short\.gguf: .*download it again"):
            read_header(short)
    short.write_bytes(b"")
    with pytest.raises(CrowdError, match=r"short\.gguf: cannot be read .*download it again"):
        read_header(short)


def forged(path, *parts, tensors=0, keys=0, version=3):
    head = b"GGUF" + struct.pack("<IQQ", version, tensors, keys)
    path.write_bytes(head + b"".join(parts) + bytes(4096))
    return path


def text(value):
    return struct.pack("<Q", len(value)) + value


def tensor(name, shape, kind=0, offset=0):
    dims = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + dims + struct.pack("<IQ", kind, offset)


@pytest.mark.parametrize(
    ("parts", "counts", "message"),
    [
        ([], {"keys": 2**60}, "the key '' twice"),
        ([], {"tensors": 2**60}, "has 0 dimensions"),
        ([], {"version": 1}, "GGUF file of version 1; little-endian ones of versions 2 and 3"),
        ([], {"version": 3 << 24}, "of a big-endian machine"),
        ([struct.pack("<Q", 2**63)], {"keys": 1}, "it ends within its header"),
        ([text(b"k"), struct.pack("<IIQ", 9, 8, 2**50)], {"keys": 1}, "it ends within"),
        ([text(b"k"), struct.pack("<IIQ", 9, 6, 2**61)], {"keys": 1}, "it ends within"),
        ([text(b"k"), struct.pack("<IIQ", 9, 9, 1)], {"keys": 1}, "the unknown type 9"),
        ([text(b"k"), struct.pack("<I", 77)], {"keys": 1}, "the unknown type 77"),
        ([text(b"k\xff"), struct.pack("<IB", 0, 0)], {"keys": 1}, "not UTF-8"),
        ([(text(b"k") + struct.pack("<IB", 0, 0)) * 2], {"keys": 2}, "the key 'k' twice"),
        ([tensor(b"t", (8,)) * 2], {"tensors": 2}, "the tensor 't' twice"),
        ([tensor(b"t", (8,)) + tensor(b"u", (8,), 0, 16)], {"tensors": 2}, "'t' and 'u' overlap"),
        ([tensor(b"t", (2**40, 2**40))], {"tensors": 1}, "reaches to byte 4,8"),
        ([tensor(b"t", (8,), 0, 2**63)], {"tensors": 1}, "reaches to byte 9,2"),
        ([tensor(b"t", (33,), 8)], {"tensors": 1}, "rows of 33 numbers in blocks of 32"),
        ([tensor(b"t", (8, 0))], {"tensors": 1}, r"the shape \(0, 8\)"),
        ([tensor(b"t", (1,) * 5)], {"tensors": 1}, "has 5 dimensions"),
    ],
)
def test_lies_in_the_header(tmp_path, parts, counts, message):
    with pytest.raises(CrowdError, match=message) as error:
        read_header(forged(tmp_path / "forged.gguf", *parts, **counts))
    assert "forged.gguf" in str(error.value)


def test_a_header_without_end(tmp_path):
    """A gigabyte of empty texts (which takes no space on the disk) is not read to its end."""
    path = forged(tmp_path / "long.gguf", text(b"k"), struct.pack("<IIQ", 9, 8, 2**26), keys=1)
    with path.open("r+b") as file:
        file.truncate(2**30)
    with pytest.raises(CrowdError, match="its header is longer than 64 MiB"):
        read_header(path)


def test_weights_that_are_not_finite(whole, tmp_path):
    path = tmp_path / "nan.gguf"
    info = read_header(whole).tensors["blk.1.ffn_up.weight"]
    data = bytearray(whole.read_bytes())
    data[info.offset : info.offset + 4] = struct.pack("<f", float("nan"))
    path.write_bytes(data)
    with pytest.raises(CrowdError, match=r"nan\.gguf: a tensor holds numbers that are not finite"):
        load(path, dtype="float32")


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.popen('touch RAN').read() }}",
        "{% set _ = messages.append(1) %}",
        "{{ raise_exception('no') }}",
        "{% for",
    ],
)
def test_a_template_cannot_run_code(tmp_path, monkeypatch, template):
    monkeypatch.chdir(tmp_path)
    raw = vocabularies.bytelevel()
    path = tmp_path / "evil.gguf"
    writer = GGUFWriter(path, "llama")
    gguf_files.tokenizer_of(raw, "smollm", template)(writer)
    gguf_files.finish(writer)
    question = Question("How offensive?", ("1", "2"), (1.0, 2.0))
    with pytest.raises(CrowdError, match=r"evil\.gguf: the tokenizer's chat template fails"):
        list(encode(load_tokenizer(path), Prompt(), [question]))
    assert not (tmp_path / "RAN").exists()
