"""Proofs of tensors, and receipts of what was read."""

import threading

import at1w
import at1w.numpy
import numpy as np
import pytest
from safetensors.numpy import save_file


@pytest.fixture
def model(tmp_path):
    random = np.random.default_rng(5)
    arrays = {
        "embed": random.standard_normal((3000, 100), dtype=np.float32),
        "norm": random.standard_normal(100, dtype=np.float32),
    }
    at1w.numpy.save_file(arrays, tmp_path / "model.at1w")
    save_file(arrays, tmp_path / "model.safetensors")
    with at1w.safe_open(tmp_path / "model.at1w", "np") as f:
        return tmp_path, arrays, f.root


def test_a_proof_has_the_slice_and_needs_no_model(model):
    folder, arrays, root = model
    proof = at1w.make_proof(folder / "model.at1w", "embed", "5:7, ::2", root=root)
    assert len(proof) < (folder / "model.at1w").stat().st_size * 0.7
    (folder / "p").write_bytes(proof)
    for given in (proof, folder / "p", str(folder / "p")):
        proved = at1w.check_proof(given, root=root)
        assert (proved.root, proved.name, proved.slice) == (root, "embed", "5:7, ::2")
        assert (proved.tensor == arrays["embed"][5:7, ::2]).all()
    whole = at1w.check_proof(at1w.make_proof(folder / "model.at1w", "norm"))
    assert whole.root == root and (whole.tensor == arrays["norm"]).all()


def test_forged_proofs_are_refused(model):
    folder, _, root = model
    proof = bytearray(at1w.make_proof(folder / "model.at1w", "norm"))
    with pytest.raises(at1w.IntegrityError, match="another model"):
        at1w.check_proof(bytes(proof), root="00" * 32)
    for at in range(0, len(proof), 7):
        proof[at] ^= 1
        with pytest.raises(at1w.SafetensorError):
            at1w.check_proof(bytes(proof), root=root)
        proof[at] ^= 1
    for wrong in (b"", b"at1p", bytes(proof[:-1])):
        with pytest.raises(at1w.IntegrityError):
            at1w.check_proof(wrong)
    with pytest.raises(at1w.SafetensorError, match="does not contain tensor"):
        at1w.make_proof(folder / "model.at1w", "nothing")
    with pytest.raises(at1w.SafetensorError, match="no root"):
        at1w.make_proof(folder / "model.safetensors", "norm")
    with pytest.raises(ValueError):
        at1w.make_proof(folder / "model.at1w", "norm", "a:b")


def test_a_receipt_says_what_is_in_memory(model):
    folder, _, root = model
    with at1w.safe_open(folder / "model.at1w", "np", root=root) as f:
        assert f.receipt()["tensors"] == {} and not f.receipt()["complete"]
        f.get_tensor("norm")
        f.get_slice("embed")[3:5]
        receipt = f.receipt()
        assert list(receipt["tensors"]) == ["norm"] and receipt["parts"] == ["embed"]
        assert (receipt["root"], receipt["pinned"], receipt["complete"]) == (root, True, False)
        with pytest.raises(at1w.SafetensorError):
            f.get_tensor("nothing")
        f.get_slice("embed")[:]
        receipt = f.receipt()
        assert receipt["parts"] == [] and receipt["complete"]
        assert len(receipt["tensors"]["embed"]) == 64


def test_receipts_are_of_whatever_reads_meanwhile(model):
    folder, _, root = model
    with at1w.receipts() as outer, at1w.receipts() as receipts:
        at1w.numpy.load_file(folder / "model.at1w")
        thread = threading.Thread(target=at1w.load, args=(folder / "model.safetensors",))
        thread.start()
        thread.join()
        at1w.safe_open(folder / "model.at1w", "np")
    assert outer == receipts
    packed, plain = receipts
    assert (packed["root"], packed["complete"], packed["pinned"]) == (root, True, False)
    assert packed["path"] == str(folder / "model.at1w")
    assert plain["root"] is None and set(plain["tensors"].values()) == {None}
    at1w.numpy.load_file(folder / "model.at1w")
    assert len(receipts) == 2
