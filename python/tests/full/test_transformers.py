"""Unmodified transformers load packed checkpoints with the hook."""

import at1w
import pytest
import torch
from accelerate.utils import load_state_dict
from at1w import hook
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)


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


def assert_all_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        other = theirs[name]
        assert (tensor.dtype, tensor.shape) == (other.dtype, other.shape)
        assert torch.equal(tensor.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8)), (
            name
        )


def logits(model):
    tokens = torch.arange(48).reshape(2, 24) * 37 % 30000
    with torch.no_grad():
        return model.eval()(tokens).logits


def save_gpt_neox(folder, dtype):
    """A checkpoint of 94 tensors, as Pythia-70m was published: buffers are among them."""
    model = gpt_neox(dtype)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    for layer in range(6):
        attention = f"gpt_neox.layers.{layer}.attention"
        state[f"{attention}.bias"] = torch.ones(1, 1, 2048, 2048).tril().bool()
        state[f"{attention}.masked_bias"] = torch.tensor(-1e9, dtype=dtype)
        state[f"{attention}.rotary_emb.inv_freq"] = 10000 ** -(torch.arange(0, 16, 2) / 16)
    assert len(state) == 94
    model.config.save_pretrained(folder)
    save_file(state, folder / "model.safetensors", {"format": "pt"})


def save_llama(folder, dtype):
    """A checkpoint in several files."""
    llama(dtype).save_pretrained(folder, max_shard_size="20MB")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("save", "shards"), [(save_gpt_neox, 1), (save_llama, 4)])
def test_loads_packed_checkpoints(tmp_path, save, shards, dtype):
    torch.manual_seed(7)
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    plain.mkdir()
    save(plain, dtype)
    files = at1w.pack(plain, packed, keep_names=True)
    assert len(files) == shards

    theirs = AutoModelForCausalLM.from_pretrained(plain, dtype=dtype)
    with pytest.raises(SafetensorError):
        AutoModelForCausalLM.from_pretrained(packed, dtype=dtype)
    hook.enable()
    try:
        ours = AutoModelForCausalLM.from_pretrained(packed, dtype=dtype)
        for file in files:
            assert_all_same(load_file(packed / file.path), load_file(plain / file.path))
    finally:
        hook.disable()
    assert_all_same(ours.state_dict(), theirs.state_dict())
    assert torch.equal(logits(ours), logits(theirs))


def test_takes_tensors_from_anywhere_without_the_hook(tmp_path):
    torch.manual_seed(7)
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    save_llama(plain, torch.bfloat16)
    at1w.pack(plain, packed)
    theirs = AutoModelForCausalLM.from_pretrained(plain)
    state = at1w.load(packed, framework="pt")
    ours = LlamaForCausalLM.from_pretrained(None, config=theirs.config, state_dict=state)
    assert_all_same(ours.to(torch.bfloat16).state_dict(), theirs.state_dict())


def test_loads_shards_under_names_of_their_own(tmp_path):
    torch.manual_seed(7)
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    save_llama(plain, torch.bfloat16)
    files = at1w.pack(plain, packed)
    assert len(files) == 4 and all(file.path.endswith(".at1w") for file in files)

    theirs = AutoModelForCausalLM.from_pretrained(plain)
    hook.enable()
    try:
        ours = AutoModelForCausalLM.from_pretrained(packed)
    finally:
        hook.disable()
    assert_all_same(ours.state_dict(), theirs.state_dict())
    assert torch.equal(logits(ours), logits(theirs))


def test_accelerate_reads_packed_checkpoints(tmp_path):
    plain, packed = tmp_path / "plain.safetensors", tmp_path / "packed.safetensors"
    save_file(llama(torch.bfloat16).state_dict(), plain, {"format": "pt"})
    at1w.pack(plain, packed)
    hook.enable()
    try:
        assert_all_same(load_state_dict(str(packed)), load_state_dict(str(plain)))
    finally:
        hook.disable()
