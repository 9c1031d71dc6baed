"""The record of a scrub, at a well-known address."""

import base64
import hashlib
import json
import subprocess
from pathlib import Path

import pytest
from conftest import AT1W
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

RECORD = "/.well-known/at1w/lab/scrub.json"


def check(message, signature, public):
    """Checks a signature of minisign, which is over a BLAKE2b of the message."""
    key = base64.b64decode(public.splitlines()[1])[10:]
    signed = base64.b64decode(signature.splitlines()[1])[10:]
    Ed25519PublicKey.from_public_bytes(key).verify(signed, hashlib.blake2b(message).digest())


def test_the_last_scrub_is_served_as_it_was_signed(make, tmp_path):
    def at1w(*args, code=0):
        done = subprocess.run([AT1W, *args], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        return done.stdout

    server = make()
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    at1w("keygen", "--no-password")
    pushed = json.loads(at1w("push", "model", server.store, "lab/model", "--json"))
    assert server.ask(RECORD)[0] == 404
    at1w("store", "scrub", server.store, "--secret-key", "at1w.key")
    status, headers, text = server.ask(RECORD)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    record = json.loads(text)
    assert record["complete"] and record["namespace"] == "lab" and record["damaged"] == 0
    assert record["trees"] == [pushed["tree"]]
    signature = server.ask(RECORD + ".minisig")[2].decode()
    public = (tmp_path / "at1w.pub").read_text()
    check(text, signature, public)
    with pytest.raises(InvalidSignature):
        check(text.replace(b'"damaged":0', b'"damaged":1'), signature, public)

    # What is private is in no record, and a scrub of a part does not take the place of one of all.
    body = json.dumps({"name": "hidden", "organization": "lab", "private": True}).encode()
    assert server.ask("/api/repos/create", "POST", server.admin, body)[0] == 200
    at1w("store", "scrub", server.store, "lab/model")
    assert server.ask(RECORD)[2] == text
    at1w("store", "scrub", server.store)
    assert json.loads(server.ask(RECORD)[2])["trees"] == [pushed["tree"]]
    assert server.ask(RECORD + ".minisig")[0] == 404
    assert server.ask(RECORD.replace("lab", "none"))[0] == 404
    assert server.ask(RECORD.replace("lab", "..%2flab"))[0] == 404
    # Nor does anybody learn of a namespace that has nothing else.
    body = json.dumps({"name": "hidden", "organization": "secret", "private": True}).encode()
    assert server.ask("/api/repos/create", "POST", server.admin, body)[0] == 200
    at1w("store", "scrub", server.store)
    hidden = RECORD.replace("lab", "secret")
    assert server.ask(hidden)[0] == 404
    assert server.ask(hidden, token=server.admin)[0] == 200
    closed = make('anonymous = "never"', store=server.store, name="closed")
    assert closed.ask(RECORD)[0] == 401


def test_damage_is_in_the_record(make, tmp_path):
    server = make()
    if "://" in server.store:
        pytest.skip("the bytes of a bucket are not changed here")
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")

    def run(*args):
        return subprocess.run([AT1W, *args], cwd=tmp_path, capture_output=True)

    assert run("push", "model", server.store, "lab/model").returncode == 0
    [pack] = Path(server.store, "packs", "lab").iterdir()
    pack.write_bytes(b"[]")
    assert run("store", "scrub", server.store).returncode == 3
    record = json.loads(server.ask(RECORD)[2])
    assert (record["damaged"], record["trees"]) == (1, [])
