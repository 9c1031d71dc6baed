"""Unmodified transformers load packed checkpoints with the hook."""

import json
import subprocess
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM, GPTNeoXConfig, GPTNeoXForCausalLM
from transformers import LlamaConfig, LlamaForCausalLM

import at1w
from at1w import hook


@pytest.fixture
def hooked():
    hook.enable()
    yield
    hook.disable()


def gpt_neox(dtype):
    """A model of the shape of Pythia-70m."""
    config = GPTNeoXConfig(
        vocab_size=50304,
        hidden_size=512,
        num_hidden_layers=6,
        num_attention_heads=8,
        intermediate_size=2048,
        rotary_pct=0.25,
        max_position_embeddings=2048,
    )
    return GPTNeoXForCausalLM(config).to(dtype)


def llama(dtype):
    config = LlamaConfig(
        vocab_size=32000,
        hidden_size=512,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
        intermediate_size=1408,
    )
    return LlamaForCausalLM(config).to(dtype)


def logits(model):
    tokens = torch.arange(48).reshape(2, 24) * 37 % 30000
    with torch.no_grad():
        return model.eval()(tokens).logits


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("make", "shard"), [(gpt_neox, "5GB"), (llama, "20MB")])
def test_loads_packed_checkpoints(tmp_path, hooked, make, shard, dtype):
    torch.manual_seed(7)
    original = make(dtype)
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    original.save_pretrained(plain, max_shard_size=shard)
    files = at1w.pack(plain, packed, keep_names=True)
    assert len(files) == len(list(plain.glob("*.safetensors")))
    assert (len(files) > 1) == (shard != "5GB")

    loaded = AutoModelForCausalLM.from_pretrained(packed, dtype=dtype)
    theirs = AutoModelForCausalLM.from_pretrained(plain, dtype=dtype)
    expected, state = original.state_dict(), loaded.state_dict()
    assert state.keys() == expected.keys()
    for name, tensor in expected.items():
        assert state[name].dtype == tensor.dtype
        assert torch.equal(state[name].view(torch.uint8), tensor.view(torch.uint8)), name
    assert torch.equal(logits(loaded), logits(theirs))
