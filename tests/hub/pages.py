"""Fills a hub with models, and has a browser look at its pages (tests/browser/hub.mjs).

Usage: pages.py BROWSER FOLDER, where BROWSER has the scripts with what they need, and FOLDER takes
screenshots.
"""

import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import time

import numpy as np

from conftest import AT1W, Server

CORPUS = pathlib.Path("corpus")
CARD = """---
license: apache-2.0
---
# A sentence encoder

Six layers, 384 dimensions. <script>alert(1)</script> is text here, as is **this**.
"""

# Names as nobody should choose them, and as somebody will.
ODD = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>.weight",
    "right\u202eto left",
    "שכבה.0.weight",
    "bell\u0007 and \u001b[31mred",
    "=HYPERLINK(\"http://evil\")",
    "a" * 300,
    "layers.0.&amp;.weight",
]


def read(path):
    """Returns the tensors of a safetensors file: dtype, shape and bytes, by name."""
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    body = memoryview(raw)[8 + length :]
    return {
        name: (about["dtype"], about["shape"], bytes(body[slice(*about["data_offsets"])]))
        for name, about in header.items()
    }


def write(path, tensors, metadata=None):
    """Writes a safetensors file."""
    header, at = {"__metadata__": metadata} if metadata else {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.writelines(data for _, _, data in tensors.values())


def trained(random, *shape):
    """Returns weights of bfloat16 that look trained."""
    values = random.standard_normal(shape, dtype=np.float32) * 0.02
    return "BF16", list(shape), (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()


def tuned(tensors, part):
    """Returns tensors of which those with some part in their names have changed a little."""
    def change(name, dtype, shape, data):
        if part not in name:
            return dtype, shape, data
        words = np.frombuffer(data, np.uint16) ^ (np.arange(len(data) // 2) % 3).astype(np.uint16)
        return dtype, shape, words.tobytes()

    return {name: (*change(name, *tensor),) for name, tensor in tensors.items()}


def many(random):
    """Returns a model with 10,000 tensors."""
    parts = ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj", "norm", "bias"]
    names = [f"model.layers.{layer}.experts.{expert}.{part}.weight"
             for layer in range(25) for expert in range(50) for part in parts]
    return {name: trained(random, *((8, 16) if "proj" in name else (16,))) for name in names}


class Hub:
    """A server whose store is filled."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.server = Server(self.folder / "server")

    def push(self, name, message, files, *options):
        source = self.folder / name
        source.mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            if callable(content):
                content(source / path)
            else:
                (source / path).write_text(content)
        # Sizes are known to the second, and each commit has one of its own.
        time.sleep(1.1)
        command = [AT1W, "--quiet", "push", source, self.server.store, name, "-m", message]
        subprocess.run([*command, *options], check=True)

    def fill(self):
        random = np.random.default_rng(7)
        minilm = read(CORPUS / "minilm-l6-v2.bf16.safetensors")
        whisper = read(CORPUS / "whisper-tiny.bf16.safetensors")
        model, config = "model.safetensors", {"config.json": '{"model_type": "bert"}\n'}
        weights = lambda tensors, **more: {model: lambda path: write(path, tensors, **more)}
        self.push("lab/minilm", "As published", weights(minilm) | config)
        tag = [AT1W, "--quiet", "repo", "tag", self.server.store, "lab/minilm", "v1"]
        subprocess.run(tag, check=True)
        minilm = tuned(minilm, "attention.self.query.weight")
        self.push("lab/minilm", "LoRA merged into the queries", weights(minilm))
        minilm = {name.replace("pooler.", "pool."): tensor for name, tensor in minilm.items()}
        minilm |= {"pool.scale": trained(random, 384)}
        self.push("lab/minilm", "Pooling renamed", weights(minilm, metadata={"format": "pt"}))
        self.push("lab/minilm", "A card", {"README.md": CARD})
        self.push("speech/whisper-tiny", "As published", weights(whisper) | config)
        self.push("lab/many", "10,000 tensors", weights(many(random)))
        odd = {name: trained(random, 32, 32) for name in ODD}
        metadata = {name: name for name in ODD}
        files = {"<b>bold<\u200b.txt": "text\n", "README.md": ODD[0]}
        files |= weights(odd, metadata=metadata)
        self.push("lab/odd", ODD[0] + ODD[2], files)
        for command in (["gc"], ["scrub"]):
            subprocess.run([AT1W, "--quiet", "store", *command, self.server.store], check=True)


def main(browser, folder):
    with tempfile.TemporaryDirectory() as work:
        hub = Hub(work)
        hub.fill()
        hub.server.start()
        try:
            body = {"name": "voices", "organization": "speech", "type": "dataset"}
            token = hub.server.admin
            made = hub.server.ask("/api/repos/create", "POST", token, json.dumps(body).encode())
            assert made[0] == 200, made
            script = pathlib.Path(browser) / "hub.mjs"
            subprocess.run(["node", script, hub.server.url, token, folder], check=True)
        finally:
            hub.server.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
