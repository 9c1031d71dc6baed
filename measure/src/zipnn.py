"""Compresses a file with zipnn on one thread, and compares what comes back. Prints a line of JSON.

Usage: python3 -c SCRIPT FILE DTYPE
"""

import json
import sys
import time

from zipnn import ZipNN

path, dtype = sys.argv[1:]
with open(path, "rb") as file:
    raw = file.read()
codec = ZipNN(bytearray_dtype=dtype, input_format="byte", threads=1)
# It takes the input as its own memory.
given = bytearray(raw)
start = time.perf_counter()
packed = bytes(codec.compress(given))
pack_seconds = time.perf_counter() - start
start = time.perf_counter()
same = bytes(codec.decompress(packed)) == raw
read_seconds = time.perf_counter() - start
if not same:
    sys.exit("it does not give back the same bytes")
facts = {"packed_bytes": len(packed), "pack_seconds": pack_seconds, "read_seconds": read_seconds}
print(json.dumps(facts))
