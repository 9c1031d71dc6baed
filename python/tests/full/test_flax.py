"""Arrays of jax, in both formats."""

import jax
import jax.numpy as jnp
import pytest

import at1w
import at1w.flax


@pytest.mark.parametrize("name", ["model.at1w", "model.safetensors"])
def test_saves_and_loads(tmp_path, name):
    arrays = {
        "a": jax.random.normal(jax.random.key(7), (300, 500), dtype=jnp.bfloat16),
        "b": jnp.arange(6, dtype=jnp.int32).reshape(2, 3),
        "empty": jnp.zeros((0, 3)),
    }
    path = tmp_path / name
    at1w.flax.save_file(arrays, path)
    for loaded in (at1w.flax.load_file(path), at1w.flax.load(path.read_bytes())):
        assert loaded.keys() == arrays.keys()
        for key, array in loaded.items():
            assert isinstance(array, jax.Array)
            assert (array.dtype, array.shape) == (arrays[key].dtype, arrays[key].shape)
            assert (array == arrays[key]).all()
    assert (at1w.flax.load_tensor(path, "a", slice=slice(7, 9)) == arrays["a"][7:9]).all()
    with at1w.safe_open(path, "flax") as f:
        assert (f.get_slice("b")[:, 1] == arrays["b"][:, 1]).all()
