"""Whatever is damaged is refused, or changes nothing that is read. Some of all cases: ci/sweeps
tries them all.
"""

from pathlib import Path

import numpy as np
import pytest
import sweep

import at1w.numpy

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"


def tally_of(cases, intact):
    tally = sweep.sweep(cases, intact)
    assert tally["wrong"] == 0
    # Nearly every byte has a meaning.
    assert tally["equal"] <= sum(tally.values()) / 8


@pytest.mark.parametrize("name", ["small", "fast", "bare", "no-tensors"])
def test_flips_and_cuts(name):
    intact = sweep.Intact((GOLDEN / f"{name}.at1w").read_bytes())
    # An odd one takes all bits of bytes in turn.
    stride = len(intact.content) // 100 | 1
    tally_of(sweep.flips(intact.content, stride), [intact])
    tally_of(sweep.cuts(intact.content, stride), [intact])


def test_splices(tmp_path):
    def other_weights(seed):
        random = np.random.default_rng(seed)
        shapes = {"a": (20, 30), "b": (200,), "c": (50,)}
        tensors = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        at1w.numpy.save_file(tensors, tmp_path / "model.at1w")
        return sweep.Intact((tmp_path / "model.at1w").read_bytes())

    intact = [other_weights(seed) for seed in (1, 2)]
    tally_of(sweep.splices(*(i.content for i in intact), 31), intact)
