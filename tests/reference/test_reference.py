"""Holds the reference decoder against the golden files.

    python -m unittest discover -s tests/reference

AT1W_MINILM may name a packed minilm-l6-v2.bf16.safetensors, to decode it as well.
"""

import io
import json
import os
import random
import subprocess
import sys
import tempfile
import unittest
from contextlib import redirect_stdout
from functools import cache
from hashlib import sha256
from pathlib import Path
from unittest import mock

import at1w

try:
    import safetensors
except ImportError:
    safetensors = None

FOLDER = Path(__file__).parent.parent / "golden"
# Files of version 1 may be those of now as well.
GOLDEN = sorted({path.read_bytes(): path for path in FOLDER.rglob("*.at1w")}.values())
# Each version has its bases in those before it.
VERSIONS = ["base.at1w", "version.at1w", "next.at1w"]
EVERYTHING = FOLDER / "everything.at1w"
SMALL = FOLDER / "small.at1w"
MINILM = os.environ.get("AT1W_MINILM")


def load(path):
    step = VERSIONS.index(path.name) if path.name in VERSIONS else 0
    return at1w.load(path, [path.parent / name for name in VERSIONS[:step]])


@cache
def decoded(path):
    """A golden file, its original, and the bytes of each tensor. Decoding takes long: once."""
    file = load(path)
    original = file.original()
    raws, start = {}, 8 + len(file.header)
    for tensor in file.tensors:
        raws[tensor.name] = original[start : start + sum(tensor.lengths)]
        start += sum(tensor.lengths)
    return file, original, raws


def rebuild(tensors, raws):
    """A safetensors file of these tensors alone."""
    header, data = {}, b""
    for tensor in tensors:
        raw = raws[tensor.name]
        offsets = [len(data), len(data) + len(raw)]
        header[tensor.name] = dict(zip(at1w.FIELDS, (tensor.dtype, tensor.shape, offsets)))
        data += raw
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


class Golden(unittest.TestCase):
    def test_every_file_decodes(self):
        """The decoder itself checks all digests, also that of the original file."""
        self.assertTrue(GOLDEN)
        for path in GOLDEN:
            with self.subTest(path.name):
                file, original, _ = decoded(path)
                self.assertEqual(sha256(original).digest(), file.digest)
                self.assertTrue(original[8:].startswith(file.header))

    def test_command_line(self):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "out.safetensors"
            command = [sys.executable, at1w.__file__, SMALL, "-o", out]
            subprocess.run(command, check=True)
            self.assertEqual(out.read_bytes(), at1w.load(SMALL).original())
            command[2] = at1w.__file__  # no packed file
            failed = subprocess.run(command, capture_output=True, text=True)
            self.assertEqual((failed.returncode, failed.stderr[:12]), (1, "error: file:"))

    def test_command_line_lists_digests(self):
        listed = io.StringIO()
        with mock.patch("sys.argv", ["at1w", str(EVERYTHING)]), redirect_stdout(listed):
            at1w.main()
        expected = [f"{t.digest.hex()}  {t.name}" for t in at1w.load(EVERYTHING).tensors]
        self.assertEqual(listed.getvalue().splitlines(), expected)

    @unittest.skipUnless(safetensors, "the safetensors package is not installed")
    def test_safetensors_loads_what_is_restored(self):
        for path in GOLDEN:
            with self.subTest(path.name):
                file, original, raws = decoded(path)
                known = [tensor for tensor in file.tensors if tensor.dtype in at1w.BITS]
                # safetensors refuses unknown dtypes, so it gets the other tensors.
                whole = len(known) == len(file.tensors)
                loaded = safetensors.deserialize(original if whole else rebuild(known, raws))
                loaded = {name: bytes(tensor["data"]) for name, tensor in loaded}
                self.assertEqual(loaded, {tensor.name: raws[tensor.name] for tensor in known})


class Sha256(unittest.TestCase):
    def test_absorb_agrees_with_hashlib(self):
        message = bytes(range(256)) * 3
        padding = b"\x80" + bytes(55) + (8 * len(message)).to_bytes(8, "big")
        state = at1w.absorb(at1w.INITIAL, message + padding)
        self.assertEqual(at1w.state_bytes(state), sha256(message).digest())


class Damage(unittest.TestCase):
    def setUp(self):
        self.data = EVERYTHING.read_bytes()
        # The digests have to find the damage without the slow chaining states.
        patch = mock.patch.object(at1w, "CHAINING_LIMIT", 0)
        patch.start()
        self.addCleanup(patch.stop)

    def test_truncations_are_refused(self):
        ends = {0, 7, 8, 100, 183, 184, 185, len(self.data) - 1, len(self.data) - 176}
        for end in ends | set(range(0, len(self.data), 997)):
            with self.subTest(end=end), self.assertRaises(at1w.At1wError):
                at1w.File(self.data[:end])

    def test_single_bit_flips_are_refused_or_harmless(self):
        intact = at1w.File(self.data)
        stored = [(tensor.payloads, tensor.model, tensor.states) for tensor in intact.tensors]
        raw = [tensor.decode() for tensor in intact.tensors]
        size, choose = len(self.data), random.Random(1)
        places = set(range(8)) | set(range(size - 176, size))
        places |= {choose.randrange(size) for _ in range(200)}
        for place in sorted(places):
            damaged = bytearray(self.data)
            damaged[place] ^= 1 << choose.randrange(8)
            with self.subTest(place=place):
                try:
                    file = at1w.File(bytes(damaged))
                    self.assertEqual(file.header, intact.header)
                    for i, tensor in enumerate(file.tensors):
                        # To decode the same bytes again would only take time.
                        if (tensor.payloads, tensor.model, tensor.states) != stored[i]:
                            self.assertEqual(tensor.decode(), raw[i])
                except at1w.At1wError:
                    pass


@unittest.skipUnless(MINILM, "AT1W_MINILM does not name a packed minilm-l6-v2.bf16.safetensors")
class Minilm(unittest.TestCase):
    def test_decodes(self):
        original = at1w.load(MINILM).original()
        if safetensors:
            loaded = {name for name, _ in safetensors.deserialize(original)}
            self.assertIn("embeddings.word_embeddings.weight", loaded)


if __name__ == "__main__":
    unittest.main()
