"""Checks that the pages name files and folders of the repository that exist."""

import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (
    "benches|ci|cli|codec|container|docs|fuzz|measure|python|registry|remote|scripts|server|simd"
    "|tests"
)


class Pages(unittest.TestCase):
    def test_paths_exist(self):
        for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
            for path in re.findall(rf"`((?:{FOLDERS})/[\w./-]+)`", page.read_text()):
                if "TARGET" in path:
                    continue
                with self.subTest(page=page.name, path=path):
                    self.assertTrue((ROOT / path).exists())


if __name__ == "__main__":
    unittest.main()
