"""vLLM, unmodified, with weights that at1w streams: `ci/vllm` installs it."""

import json
import os
import shutil
import subprocess
import sys

import pytest

import at1w
from server import serving

pytest.importorskip("vllm")

MAKE = """
import sys, torch
from transformers import LlamaConfig, LlamaForCausalLM
torch.manual_seed(0)
config = LlamaConfig(vocab_size=512, hidden_size=128, intermediate_size=256, num_hidden_layers=2,
                     num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=256)
LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(sys.argv[1])
"""

GENERATE = """
import json, sys
from vllm import LLM, SamplingParams
llm = LLM(skip_tokenizer_init=True, enforce_eager=True, max_model_len=64, dtype="bfloat16",
          **json.loads(sys.argv[1]))
how = SamplingParams(temperature=0, max_tokens=4, detokenize=False, logprobs=3)
said = llm.generate([{"prompt_token_ids": [1, 2, 3, 4]}], how)[0].outputs[0]
print(json.dumps([list(said.token_ids),
                  [sorted((at, p.logprob) for at, p in step.items()) for step in said.logprobs]]))
"""


def run(code, *args):
    more = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    command = [sys.executable, "-c", code, *args]
    return subprocess.run(command, env=os.environ | more, capture_output=True, text=True)


def generate(**options):
    done = run(GENERATE, json.dumps(options))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_vllm_says_the_same(tmp_path):
    plain, packed, bare = (str(tmp_path / name) for name in ("plain", "packed", "bare"))
    done = run(MAKE, plain)
    assert done.returncode == 0, done.stderr
    for folder in (packed, bare):
        os.mkdir(folder)
        shutil.copy(f"{plain}/config.json", folder)
    [file] = at1w.pack(f"{plain}/model.safetensors", f"{packed}/model.at1w")
    expected = generate(model=plain, load_format="safetensors")
    assert generate(model=packed, load_format="at1w") == expected
    # Weights that lie elsewhere, pinned.
    with serving(packed) as server:
        where = {"weights": f"{server.url}/model.at1w", "root": file.root}
        options = {"model": bare, "load_format": "at1w", "model_loader_extra_config": where}
        assert generate(**options) == expected
        where["root"] = "00" * 32
        refused = run(GENERATE, json.dumps(options))
        assert refused.returncode != 0 and "root" in refused.stderr
        where |= {"root": file.root, "typo": 1}
        refused = run(GENERATE, json.dumps(options))
        assert refused.returncode != 0 and "typo" in refused.stderr
