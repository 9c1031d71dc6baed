"""Splits a file of weights into two shards with an index: `python shards.py FILE FOLDER`."""

import json
import os
import sys

import at1w
import at1w.numpy


def split(file, folder):
    os.makedirs(folder)
    with at1w.safe_open(file, "np") as f:
        names = f.offset_keys()
        shards = {}
        for at, some in enumerate((names[::2], names[1::2]), 1):
            name = f"model-0000{at}-of-00002.safetensors"
            at1w.numpy.save_file(f.get_tensors(some), os.path.join(folder, name))
            shards |= {tensor: name for tensor in some}
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as index:
        json.dump({"metadata": {}, "weight_map": shards}, index)


if __name__ == "__main__":
    split(*sys.argv[1:])
