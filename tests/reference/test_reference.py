"""Holds the reference decoder against the golden files.

    python -m unittest discover -s tests/reference

AT1W_MINILM may name a packed minilm-l6-v2.bf16.safetensors, to decode it as well.
"""

import os
import random
import tempfile
import unittest
from hashlib import sha256
from pathlib import Path
from unittest import mock

import at1w

try:
    import safetensors
except ImportError:
    safetensors = None

GOLDEN = Path(__file__).parent.parent / "golden"


class Golden(unittest.TestCase):
    def test_every_file_decodes(self):
        """The decoder itself checks every digest, also that of the original."""
        paths = sorted(GOLDEN.glob("*.at1w"))
        self.assertTrue(paths)
        for path in paths:
            with self.subTest(path.name):
                file = at1w.load(path)
                original = file.original()
                self.assertEqual(sha256(original).digest(), file.digest)
                self.assertEqual(original[8 : 8 + len(file.header)], file.header)

    @unittest.skipUnless(safetensors, "the safetensors package is not installed")
    def test_safetensors_loads_what_is_restored(self):
        for path in sorted(GOLDEN.glob("*.at1w")):
            file = at1w.load(path)
            if any(tensor.dtype not in at1w.BITS for tensor in file.tensors):
                # It refuses unknown dtypes: keep what it knows.
                file.tensors = [t for t in file.tensors if t.dtype in at1w.BITS]
            with self.subTest(path.name):
                restored = {t.name: t.decode() for t in file.tensors}
                loaded = dict(safetensors.deserialize(rebuild(file, restored)))
                self.assertEqual(loaded.keys(), restored.keys())
                for name, raw in restored.items():
                    self.assertEqual(bytes(loaded[name]["data"]), raw)


def rebuild(file, restored):
    """A safetensors file of these tensors alone."""
    header, at = {}, 0
    for tensor in file.tensors:
        end = at + len(restored[tensor.name])
        offsets = [at, end]
        header[tensor.name] = dict(zip(at1w.FIELDS, (tensor.dtype, tensor.shape, offsets)))
        at = end
    text = at1w.json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(restored.values())
