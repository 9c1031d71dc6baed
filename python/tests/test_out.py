"""Reading into arrays that are there already."""

import numpy as np
import pytest
from conftest import assert_all_same

import at1w
import at1w.numpy


def made(tensors):
    """Returns arrays like these, of other content."""
    return {name: np.full_like(array, 1) for name, array in tensors.items()}


def test_arrays_are_filled_and_returned(path, tensors):
    out = made(tensors)
    loaded = at1w.numpy.load_file(path, out=out)
    assert all(loaded[name] is array for name, array in out.items())
    assert_all_same(loaded, tensors)
    with at1w.safe_open(path, "np") as f:
        assert list(loaded) == f.offset_keys()
        # Some of them; parts of larger memory, which begin at any byte.
        memory = np.zeros(tensors["wide"].nbytes + 1, dtype=np.uint8)
        wide = memory[1:].view(np.float32).reshape(tensors["wide"].shape)
        some = f.get_tensors(out={"wide": wide})
        assert_all_same(some, {"wide": tensors["wide"]})
        assert memory[0] == 0
        assert f.get_tensors(["cube"], out=out)["cube"] is out["cube"]


def changed(out, change):
    """Returns the arrays to be filled with one of them changed."""
    wide, both = out["wide"], np.zeros((3000, 1400), dtype=np.float32)
    return {
        "missing": {name: array for name, array in out.items() if name != "wide"},
        "more": {**out, "wider": wide},
        "dtype": {**out, "wide": wide.astype(np.float64)},
        "order": {**out, "wide": wide.astype(">f4")},
        "shape": {**out, "wide": wide.reshape(700, 3000)},
        "strided": {**out, "wide": both[:, ::2]},
        "transposed": {**out, "wide": wide.T},
        "list": {**out, "wide": wide.tolist()},
        "masked": {**out, "wide": np.ma.masked_array(wide)},
        "shared": {**out, "fp8.e5m2": out["fp8"].view(out["fp8.e5m2"].dtype)},
    }[change]


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ("missing", ValueError, '"wide": there is nothing to be filled'),
        ("more", at1w.SafetensorError, "wider"),
        ("dtype", ValueError, '"wide": the file has F32 of shape .*has float64'),
        ("order", ValueError, '"wide": the file has F32'),
        ("shape", ValueError, r"has float32 of shape \[700, 3000\]"),
        ("strided", ValueError, "contiguous and writable"),
        ("transposed", ValueError, "of shape"),
        ("list", TypeError, '"wide": an array of numpy is filled, not builtins.list'),
        ("masked", TypeError, "not numpy.ma"),
        ("shared", ValueError, 'its memory is also that of "fp8'),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_changes(
    path, tensors, change, kind, message
):
    out = made(tensors)
    with pytest.raises(kind, match=message):
        at1w.numpy.load_file(path, out=changed(out, change))
    assert_all_same(out, made(tensors))


def test_what_cannot_be_written_is_refused(path, tensors):
    out = made(tensors)
    out["wide"].flags.writeable = False
    with pytest.raises(ValueError, match="contiguous and writable"):
        at1w.numpy.load_file(path, out=out)
    assert_all_same(out, made(tensors))


def test_damage_leaves_nothing_that_was_not_proven(packed, tensors, tmp_path):
    damaged = bytearray(packed.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path = tmp_path / "damaged.at1w"
    path.write_bytes(damaged)
    out, before = made(tensors), made(tensors)
    with pytest.raises(at1w.IntegrityError, match="new, and some is old or zero"):
        at1w.numpy.load_file(path, out=out)
    for name, array in out.items():
        new, zero = tensors[name], np.zeros_like(array)
        found, *whole = (
            np.frombuffer(other.tobytes(), np.uint8) for other in (array, new, zero, before[name])
        )
        assert np.logical_or.reduce([found == other for other in whole]).all()
