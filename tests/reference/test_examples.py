"""Holds the examples of docs/FORMAT.md against the golden files that they are taken from.

A dump is a code block that begins with "hexdump" and the path of a file. Its lines have an offset
in the file, bytes, and after a bar what they mean; a line "..." stands for bytes left out.
"""

import re
import unittest
from pathlib import Path

import at1w

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "FORMAT.md").read_text(encoding="utf-8")
DUMP = re.compile(r"^```hexdump (\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BARE = "tests/golden/version-1/bare.at1w"
SMALL = "tests/golden/version-1/small.at1w"
EVERYTHING = "tests/golden/version-1/everything.at1w"


def read_dump(text):
    """For each line with bytes their offset, the bytes, and whether bytes are left out before."""
    left_out = False
    for line in text.splitlines():
        given = line.partition("|")[0].split()
        if given == ["..."]:
            left_out = True
        elif given:
            yield int(given[0], 16), bytes.fromhex("".join(given[1:])), left_out
            left_out = False


DUMPS = [(path, list(read_dump(text))) for path, text in DUMP.findall(PAGE)]


def tensor(path, name):
    return next(t for t in at1w.load(ROOT / path).tensors if t.name == name)


class Dumps(unittest.TestCase):
    def test_all_are_found(self):
        self.assertEqual([path for path, _ in DUMPS], [BARE, SMALL, SMALL, EVERYTHING])

    def test_bytes_are_those_of_the_file(self):
        for path, lines in DUMPS:
            data = (ROOT / path).read_bytes()
            for at, given, _ in lines:
                with self.subTest(path, at=hex(at)):
                    self.assertTrue(given)
                    self.assertEqual(data[at : at + len(given)], given)

    def test_lines_follow_one_another(self):
        for path, lines in DUMPS:
            for (before, given, _), (at, _, left_out) in zip(lines, lines[1:]):
                with self.subTest(path, at=hex(at)):
                    compare = self.assertLess if left_out else self.assertEqual
                    compare(before + len(given), at)

    def test_they_show_all_that_they_claim_to(self):
        constant, flags = tensor(SMALL, "constant"), tensor(EVERYTHING, "flags")
        records = [
            (ROOT / BARE).read_bytes(),
            constant.stored,
            constant.digest + len(constant.stored).to_bytes(8, "little") + bytes(8),
            flags.stored,
        ]
        for (path, lines), whole in zip(DUMPS, records):
            with self.subTest(path):
                begin, end = lines[0][0], lines[-1][0] + len(lines[-1][1])
                self.assertEqual((ROOT / path).read_bytes()[begin:end], whole)


class LaneSteps(unittest.TestCase):
    """The table of decoder steps in section 9.4."""

    ROW = re.compile(r"^\|" + r" *(\d*) *\|" * 8 + "$", re.MULTILINE)

    def test_they_are_those_of_the_decoder(self):
        flags = tensor(EVERYTHING, "flags")
        cursor = at1w.Cursor(flags.payloads, "flags")
        _method, _mode, length = cursor.number(1), cursor.number(1), cursor.varint()
        self.assertEqual(length, len(flags.payloads) - cursor.at)
        states, shared = [cursor.number(2) for _ in range(128)], iter(cursor.rest())
        symbols, freqs, offsets = at1w.lane_table(at1w.Cursor(flags.model[2:], "model"))
        raw, steps = flags.decode(), []
        for i, symbol in enumerate(raw[:256]):
            lane, slot = i % 128, states[i % 128] % 256
            self.assertEqual(symbols[slot], symbol)
            new = kept = freqs[slot] * (states[lane] // 256) + offsets[slot]
            byte = ""
            if new < 256:
                byte = next(shared)
                kept = 256 * new + byte
            steps.append((i, lane, states[lane], slot, symbol, new, byte, kept))
            states[lane] = kept
        rows = [tuple(int(x) if x else "" for x in row) for row in self.ROW.findall(PAGE)]
        self.assertGreater(len(rows), 4)
        for row in rows:
            self.assertIn(row, steps)


if __name__ == "__main__":
    unittest.main()
