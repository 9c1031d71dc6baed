"""A server that hands out what its keys have signed, and nothing else."""

import subprocess

import pytest
from conftest import AT1W
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

FILE = "/lab/model/resolve/main/config.json"
HTML = {"Accept": "text/html"}


@pytest.fixture
def place(tmp_path):
    """A folder with a model, and two pairs of keys."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    key = ec.generate_private_key(ec.SECP384R1())
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    plain = serialization.NoEncryption()
    (tmp_path / "key.pem").write_bytes(key.private_bytes(encoding, form, plain))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "pub.pem").write_bytes(key.public_key().public_bytes(encoding, form))
    return tmp_path


def test_files_without_a_signature_are_refused(make, place):
    def at1w(*args):
        done = subprocess.run([AT1W, *args], cwd=place, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    at1w("keygen", "--no-password")
    keys = f'"{place / "at1w.pub"}", "{place / "pub.pem"}"'
    server = make(f"[signatures]\nkeys = [{keys}]")
    push = ["push", "model", server.store, "lab/model"]
    at1w(*push)
    status, headers, _ = server.ask(FILE)
    assert status == 403 and "not signed by a key" in headers["X-Error-Message"]
    assert server.ask(FILE, method="HEAD")[0] == 403
    assert server.ask(FILE + "?at1w=1")[0] == 403
    assert server.ask(FILE, token=server.admin)[0] == 403
    assert server.ask("/api/models/lab/model")[0] == 200
    # Pages list it, and show nothing of what is in it.
    status, _, body = server.ask("/lab/model", headers=HTML)
    assert status == 200 and b"Not signed" in body and b"config.json" in body
    status, _, body = server.ask("/lab/model/blob/main/config.json", headers=HTML)
    assert status == 403 and b"not signed by a key" in body

    # A signed commit.
    (place / "model/config.json").write_text("[]")
    at1w(*push, "--secret-key", "at1w.key")
    assert server.ask(FILE)[2] == b"[]"
    assert b"Not signed" not in server.ask("/lab/model", headers=HTML)[2]
    assert b"[]" in server.ask("/lab/model/blob/main/config.json", headers=HTML)[2]
    # A bundle in the revision, over its other files.
    (place / "model/config.json").write_text("[1]")
    at1w(*push)
    assert server.ask(FILE)[0] == 403
    at1w("sign", f"{server.store}#lab/model", "-s", "key.pem", "-o", "model/model.sig")
    at1w(*push)
    assert server.ask(FILE)[2] == b"[1]"
    # One that is over other files, and one by another key.
    (place / "model/extra.py").write_text("import os")
    at1w(*push)
    assert server.ask(FILE)[0] == 403
    (place / "model/extra.py").unlink()
    at1w(*push, "--delete")
    assert server.ask(FILE)[0] == 200
    at1w("keygen", "--no-password", "-s", "other.key", "-p", "other.pub")
    config = f'[signatures]\nkeys = ["{place / "other.pub"}"]'
    other = make(config, store=server.store, name="other")
    assert other.ask(FILE)[0] == 403


def test_what_is_no_key_is_said_at_the_start(make, place):
    (place / "none.pub").write_text("nothing")
    with pytest.raises(RuntimeError, match="neither a public key"):
        make(f'[signatures]\nkeys = ["{place / "none.pub"}"]')
    with pytest.raises(RuntimeError, match="missing.pub"):
        make('[signatures]\nkeys = ["missing.pub"]', name="missing")
