"""The meter of a server: numbers for Prometheus, reads, allowances, records and scrubs."""

import base64
import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request

import pytest

from conftest import AT1W, free_port
from test_clients import upload


def at1w(*command, check=True):
    done = subprocess.run([AT1W, *command], capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def metrics(text):
    """The samples of an answer, by name and labels."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def until(ready, seconds=60):
    """Waits until something is there, and returns it."""
    for _ in range(seconds * 10):
        if found := ready():
            return found
        time.sleep(0.1)
    raise AssertionError("it never came")


def test_metrics_are_for_those_who_may_see_all_namespaces(server, home, model):
    upload(server, home, model)
    server.ask("/lab/model/resolve/main/model.safetensors")
    for options, status in [([], 200), (["--namespace", "lab"], 403), (["--write"], 200)]:
        token = server.token(f"t{status}{len(options)}", *options)
        assert server.ask("/metrics", token=token)[0] == status
    status, headers, _ = server.ask("/metrics")
    assert status == 401
    status, headers, body = server.ask("/metrics", token=server.admin)
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    text = body.decode()
    found = metrics(text)
    large = (model / "model.safetensors").stat().st_size
    assert found["at1w_sent_bytes_total"] >= large
    assert found["at1w_received_bytes_total"] > large / 2
    assert found['at1w_http_requests_total{route="file",method="GET",code="200"}'] == 1
    assert found['at1w_verify_failures_total{where="serve"}'] == 0
    assert found['at1w_store_requests_total{op="put",result="ok"}'] > 10
    assert "at1w_http_request_duration_seconds_bucket" in text
    # Neither a repository nor a token is named.
    assert "lab/model" not in text and "root" not in text
    for path in ("/healthz", "/readyz"):
        assert server.ask(path)[0] == 200


def test_a_prometheus_scrapes(make, home, model, tmp_path):
    prometheus = shutil.which("prometheus")
    if not prometheus:
        pytest.skip("there is no prometheus")
    port = free_port()
    server = make(f'[metrics]\nlisten = "127.0.0.1:{port}"\n[meter]\nsample = 1\n')
    upload(server, home, model)
    web = free_port()
    (tmp_path / "prometheus.yml").write_text(json.dumps({
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [
            {"job_name": "open", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]},
            {"job_name": "token", "authorization": {"credentials": server.token("monitor")},
             "static_configs": [{"targets": [f"127.0.0.1:{server.port}"]}]},
        ],
    }))
    command = [prometheus, f"--config.file={tmp_path / 'prometheus.yml'}",
               f"--storage.tsdb.path={tmp_path / 'tsdb'}", f"--web.listen-address=127.0.0.1:{web}"]
    process = subprocess.Popen(command, stderr=open(tmp_path / "prometheus.log", "wb"))

    def ask(query):
        try:
            address = f"http://127.0.0.1:{web}/api/v1/query?query={urllib.parse.quote(query)}"
            return json.load(urllib.request.urlopen(address))["data"]["result"]
        except OSError:
            return []

    try:
        up = until(lambda: len(found := ask("up == 1")) == 2 and found)
        assert {one["metric"]["job"] for one in up} == {"open", "token"}
        size = sum(path.stat().st_size for path in model.rglob("*") if path.is_file())
        query = 'at1w_storage_bytes{namespace="lab",kind="unique",job="open"}'
        # The first file of a repository is .gitattributes. It is added up once a minute.
        until(lambda: (found := ask(query)) and int(found[0]["value"][1]) >= size, 150)
        assert ask('sum(at1w_http_requests_total{job="token"}) > 0')
        assert ask('histogram_quantile(0.9, at1w_http_request_duration_seconds_bucket)')
    finally:
        process.terminate()
        process.wait()


def test_the_dashboard_and_the_alerts_name_what_is_there(make, home, model):
    server = make("[meter]\nsample = 1\n")
    upload(server, home, model)
    text = until(lambda: (
        "at1w_storage_bytes{" in (text := server.ask("/metrics", token=server.admin)[2].decode())
        and text))
    names = set(re.findall(r"^# TYPE (\S+)", text, re.M))
    known = {f"{name}{end}" for name in names for end in ("", "_total", "_bucket", "_count", "_sum")}
    docs = pathlib.Path(__file__).parents[2] / "docs" / "hub"
    dashboard = json.loads((docs / "dashboard.json").read_text())
    alerts = (docs / "alerts.yml").read_text()
    asked = {name for text in (json.dumps(dashboard), alerts)
             for name in re.findall(r"at1w_[a-z_]+", text)}
    assert asked and asked <= known, asked - known
    if shutil.which("promtool"):
        subprocess.run(["promtool", "check", "rules", docs / "alerts.yml"], check=True)


def test_reads_are_recorded_and_cost_nothing(server, home, model, tmp_path):
    upload(server, home, model)
    content = (model / "model.safetensors").read_bytes()
    for _ in range(3):
        assert server.ask("/lab/model/resolve/main/model.safetensors")[2] == content
    server.stop()
    config = tmp_path / "bill.toml"
    config.write_text('[meter]\nprice = "20.00"\ncurrency = "EUR"\n')
    report = json.loads(at1w("meter", "report", server.store, "--json", "--config", str(config)).stdout)
    [lab] = report["namespaces"]
    assert (lab["requests"], lab["sent_bytes"]) == (3, 3 * len(content))
    assert lab["byte_seconds"]["unique"] >= 0 and lab["unique_bytes"] > len(content)
    months = lab["tb_months"]["unique"]
    assert abs(float(lab["amount"]) - 20 * months) <= 0.005
    assert report["total"]["amount"] == lab["amount"]
    check = json.loads(at1w("meter", "check", server.store, "--json").stdout)
    assert check["broken"] is None and check["odd"] == [] and check["records"] >= 3
    assert check["entries"] >= 2


def test_a_full_namespace_refuses_uploads_with_a_reason(make, home, model):
    server = make('[quotas]\nlab = 1000000\n"*" = 100000000\n')
    reason = "The namespace lab may hold 1000000 bytes"
    for way in ({}, {"HF_HUB_DISABLE_XET": "1"}):
        command = ["hf", "upload", "lab/model", str(model)]
        done = server.run(home, *command, token=server.admin, check=False, **way)
        assert done.returncode != 0 and reason in done.stdout + done.stderr, done.stderr
    small = model / "config.json"
    server.run(home, "hf", "upload", "lab/model", str(small), "config.json", token=server.admin)
    # What is there counts once, however often it is uploaded.
    for name in ("a", "b", "c"):
        server.run(home, "hf", "upload", "lab/other", str(small), f"{name}.json", token=server.admin)
    upload(server, home, model, "big/model")
    lines = [{"key": "header", "value": {"summary": "n"}},
             {"key": "file", "value": {"path": "n", "encoding": "base64",
                                       "content": base64.b64encode(bytes(1_100_000)).decode()}}]
    body = "\n".join(map(json.dumps, lines)).encode()
    status, _, answer = server.ask("/api/models/lab/model/commit/main", "POST", server.admin, body)
    assert status == 413 and reason in answer.decode()


def test_uploads_that_no_commit_names_count(make, home, model, bucket):
    server = make("[quotas]\nlab = 1000000\n")

    def send(content):
        sha256 = hashlib.sha256(content).hexdigest()
        return server.ask(f"/api/at1w/v1/file/lab?sha256={sha256}", "POST", server.admin, content)

    assert [send(bytes(600_000))[0] for _ in range(2)] == [200, 200]
    status, _, answer = send(b"1" * 600_000)
    assert status == 413 and b"600000 in uploads that no commit names" in answer
    # A file that is packed where it lies is held against the quota before it is stored.
    def packs():
        return bucket or sorted(pathlib.Path(server.store, "packs").rglob("*"))

    before = packs()
    command = [AT1W, "push", str(model), server.url, "lab/model"]
    done = server.run(home, *command, token=server.admin, check=False)
    assert done.returncode != 0 and "may hold 1000000 bytes" in done.stderr, done.stderr
    assert packs() == before


def test_damage_is_found_by_the_schedule(make, home, model, bucket):
    if bucket:
        pytest.skip("its packs are flipped on disk")
    at1w("keygen", "--no-password", "-s", str(home.parent / "hub.key"), "-p",
         str(home.parent / "hub.pub"))
    server = make(f'secret_key = "{home.parent / "hub.key"}"\n'
                  "[scrub]\nevery = 1\nrate = 1000000000\n[meter]\nsample = 1\n")
    upload(server, home, model)
    until(lambda: "a scrub has ended" in server.received())
    server.stop()
    records = sorted(pathlib.Path(server.store, "scrub/lab/done").iterdir())
    record = json.loads(records[-1].read_text())
    assert record["complete"] and "trusted comment" in record["signature"]
    packs = [path for path in pathlib.Path(server.store, "packs").rglob("*") if path.is_file()]
    pack = max(packs, key=lambda path: path.stat().st_size)
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.write_bytes(content)
    since = len(server.received())
    server.start()
    until(lambda: "repair the store" in server.received(since))
    assert "model.safetensors" in server.received(since)
    found = metrics(server.ask("/metrics", token=server.admin)[2].decode())
    assert found['at1w_verify_failures_total{where="scrub"}'] >= 1
    assert found["at1w_scrub_last_end_timestamp_seconds"] > time.time() - 600


def test_two_servers_and_the_command_line_are_in_the_record(make, home, model, tmp_path):
    first = make("[meter]\nsample = 1\n")
    second = make(config="[meter]\nsample = 1\n", store=first.store, name="second")
    second.stop()
    (second.secrets / "signing-key").write_bytes((first.secrets / "signing-key").read_bytes())
    second.start()
    upload(first, home, model)
    (model / "config.json").write_text("{}")
    second.run(home, "hf", "upload", "lab/model", str(model), token=first.admin)
    at1w("push", str(model), first.store, "lab/other", "-m", "by hand")
    first.kill()
    second.stop()
    check = json.loads(at1w("meter", "check", first.store, "--json").stdout)
    assert check["broken"] is None and check["odd"] == [], check
    assert check["servers"] >= 3 and check["samples"] >= 1
    logs = [json.loads(at1w("repo", "log", first.store, repo, "--json").stdout)
            for repo in ("lab/model", "lab/other")]
    assert check["entries"] >= sum(len(log["commits"]) for log in logs)
