"""The pages for browsers: what they show to whom, and that names in them do nothing."""

import html
import http.client
import json
import pathlib
import re
import subprocess
import time
import urllib.parse

import numpy as np
import pytest

from conftest import AT1W
from pages import ODD, trained, write

HTML = {"Accept": "text/html"}
MODEL = "model.safetensors"


def page(server, path, token=None, cookie=None, **headers):
    """Returns the status, the headers and the text of a page."""
    headers = HTML | headers | ({"Cookie": cookie} if cookie else {})
    status, answer, body = server.ask(path, token=token, headers=headers)
    return status, answer, body.decode()


def post(server, path, form, origin=None, cookie=None, **headers):
    """Sends a form as a browser would; follows no redirect."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    body = urllib.parse.urlencode(form)
    headers = {"Content-Type": "application/x-www-form-urlencoded"} | HTML | headers
    headers |= {"Origin": origin or server.url} if origin != "" else {}
    headers |= {"Cookie": cookie} if cookie else {}
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.headers, text


def sign_in(server, token, **more):
    """Returns the cookie of a session."""
    status, headers, text = post(server, "/login", {"token": token, "next": "/admin"}, **more)
    assert (status, headers["Location"]) == (303, "/admin"), text
    set_cookie = headers["Set-Cookie"]
    assert "HttpOnly" in set_cookie and "SameSite=Strict" in set_cookie
    return set_cookie.split(";")[0]


def push(server, folder, name, message="as published"):
    command = [AT1W, "--quiet", "push", folder, server.store, name, "-m", message]
    subprocess.run(command, check=True)


def private(server, name, token=None):
    namespace, short = name.split("/")
    body = json.dumps({"name": short, "organization": namespace, "private": True}).encode()
    answer = server.ask("/api/repos/create", "POST", token or server.admin, body)
    assert answer[0] == 200, answer


@pytest.fixture
def odd(tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    random = np.random.default_rng(3)
    tensors = {name: trained(random, 64, 64) for name in ODD}
    write(folder / MODEL, tensors, {name: name for name in ODD})
    (folder / "README.md").write_text("\n".join(ODD))
    (folder / "<i>x\u202e.txt").write_text(ODD[0])
    return folder


def addresses(text):
    """Returns the links of a page that lead to pages."""
    found = (html.unescape(link) for link in re.findall(r'<a [^>]*href="([^"]*)"', text))
    return {link for link in found if link.startswith(("/", "?")) and "/resolve/" not in link}


def test_names_do_nothing_on_any_page(server, odd):
    push(server, odd, "lab/odd", ODD[0] + ODD[2])
    (odd / "more.txt").write_text("more")
    push(server, odd, "lab/odd", "second\n" + ODD[1])
    cookie = sign_in(server, server.admin)
    todo, seen = ["/", f"/?search={urllib.parse.quote(ODD[0])}", "/lab/none", "/admin"], set()
    todo.append(f"/lab/odd/blob/main/{MODEL}?filter={urllib.parse.quote(ODD[1])}&sort=%3Cscript%3E")
    todo.append(f"/lab/odd/tree/{urllib.parse.quote(ODD[0], safe='')}")
    while todo:
        path = todo.pop(0)
        if path in seen or len(seen) > 150:
            continue
        seen.add(path)
        status, headers, text = page(server, path, cookie=cookie)
        assert status in (200, 400, 404), (path, status)
        assert headers["Content-Type"].startswith("text/html"), path
        policy = headers["Content-Security-Policy"]
        for part in ("default-src 'none'", "form-action 'self'", "base-uri 'none'",
                     "frame-ancestors 'none'"):
            assert part in policy
        assert "unsafe" not in policy and "script-src" not in policy
        for wrong in ("<script", "<img", "<b>", "<i>", "\u202e", "\u200b", "\u0007", "\x1b",
                      " style=", "onerror=alert(1)>"):
            assert wrong not in text, (path, wrong)
        for link in addresses(text):
            assert re.match(r"[/?]", link) and not link.startswith("//")
            if "sort=" not in link:
                todo.append(link if link[0] == "/" else path.split("?")[0] + link)
    assert any("tensor=" in path for path in seen) and any("compare" in path for path in seen)
    assert any(path.startswith("/lab/odd/tensor/") for path in seen)
    assert "/admin/audit" in seen


def test_the_card_is_text(server, odd):
    push(server, odd, "lab/odd")
    _, _, text = page(server, "/lab/odd")
    card = re.search(r'<pre class="card"[^>]*>(.*?)</pre>', text, re.S)[1]
    assert html.unescape(card).startswith(ODD[0])
    assert "\\u{202e}" in card


def test_private_repositories_are_nowhere(server, model):
    push(server, model, "lab/open")
    private(server, "lab/secret")
    push(server, model, "lab/secret")
    private(server, "shadow/secret")
    other = server.token("other", "--write", "--namespace", "elsewhere")
    digest = None
    for token in (None, other):
        assert page(server, "/", token)[2].count("secret") == 0
        assert "secret" not in page(server, "/lab/open", token)[2]
        _, _, text = page(server, f"/lab/open/blob/main/{MODEL}", token)
        digest = re.search(r"/lab/open/tensor/([0-9a-f]{64})", text)[1]
        for rest in ("", "/tree/main", "/commits/main", "/compare", f"/tensor/{digest}",
                     f"/blob/main/{MODEL}", f"/blob/main/{MODEL}?tensor=layer.0.weight"):
            there = page(server, f"/lab/secret{rest}", token)
            missing = page(server, f"/lab/nobody{rest}", token)
            assert there[0] == missing[0] == 404, rest
            assert there[2].replace("secret", "nobody") == missing[2], rest
            assert dict(there[1]).keys() == dict(missing[1]).keys()
        _, _, text = page(server, "/", token)
        assert "shadow" not in text
        # Sums are of what is seen.
        assert re.search(r"<dt>repositories</dt><dd><data value=\"1\">", text), text[:3000]
    lab = server.token("own", "--namespace", "lab")
    assert "lab/secret" in page(server, "/", lab)[2]
    assert page(server, "/lab/secret", lab)[0] == 200
    cookie = sign_in(server, lab)
    assert page(server, "/lab/secret", cookie=cookie)[0] == 200


def test_without_a_token_a_page_asks_for_one(make, model):
    server = make('anonymous = "never"\n')
    push(server, model, "lab/open")
    for path in ("/", "/lab/open", "/lab/nobody", "/admin"):
        status, headers, text = page(server, path)
        assert status == 401 and 'action="/login"' in text, path
        assert "open" not in text.replace("/lab/open", "")
    status, _, body = server.ask("/lab/open")
    assert status == 401 and json.loads(body)["error"]
    # The look is for everybody, and nothing else.
    look = re.search(r'href="(/static/[^"]*\.css)"', text)[1]
    status, headers, _ = server.ask(look)
    assert status == 200 and "immutable" in headers["Cache-Control"]
    assert server.ask("/static/../secrets")[0] == 404 and server.ask("/static/x")[0] == 404


def test_sessions_hold_for_pages_alone_and_end(server, model):
    push(server, model, "lab/open")
    private(server, "lab/secret")
    token = server.token("own", "--write", "--namespace", "lab")
    cookie = sign_in(server, token)
    assert page(server, "/lab/secret", cookie=cookie)[0] == 200
    # No other answer knows the session, so that no page elsewhere can use it there.
    status, _, _ = server.ask("/api/models/lab/secret", headers={"Cookie": cookie})
    assert status == 404
    assert server.ask("/api/whoami-v2", headers={"Cookie": cookie})[0] == 401
    body = json.dumps({"name": "new", "organization": "lab"}).encode()
    assert server.ask("/api/repos/create", "POST", None, body, {"Cookie": cookie})[0] == 401
    name, value = cookie.split("=", 1)
    for wrong in ("", value[:-1] + "0", value[1:], "x", "." * 100):
        assert page(server, "/lab/secret", cookie=f"{name}={wrong}")[0] == 404
    # Only those of an admin see what is for admins.
    assert page(server, "/admin", cookie=cookie)[0] == 403
    status, headers, _ = post(server, "/login/out", {}, cookie=cookie)
    assert status == 303 and "Max-Age=0" in headers["Set-Cookie"]
    admin = sign_in(server, server.admin)
    assert page(server, "/admin/tokens", cookie=admin)[0] == 200
    subprocess.run([AT1W, "--quiet", "token", "revoke", server.store, "own"], check=True)
    server.stop()
    server.start()
    assert page(server, "/lab/secret", cookie=cookie)[0] == 404


def test_forms_come_from_pages_of_the_server(server):
    admin = sign_in(server, server.admin)
    form = {"name": "evil", "role": "admin"}
    for origin in ("http://evil.example", "null", f"http://localhost:{server.port}", ""):
        status, _, text = post(server, "/admin/tokens", form, origin=origin, cookie=admin)
        assert status == 403, origin
        assert post(server, "/login", {"token": server.admin}, origin=origin)[0] == 403
        assert post(server, "/admin/scrub", {}, origin=origin, cookie=admin)[0] == 403
        assert post(server, "/login/out", {}, origin=origin, cookie=admin)[0] == 403
    site = {"Sec-Fetch-Site": "cross-site"}
    assert post(server, "/admin/tokens", form, cookie=admin, **site)[0] == 403
    assert "evil" not in page(server, "/admin/tokens", cookie=admin)[2]
    # A form is not an address to look at.
    assert page(server, "/admin/tokens/revoke?id=root", cookie=admin)[0] == 404
    assert post(server, "/admin/tokens", form)[0] in (401, 403)
    for to in ("//evil.example", "https://evil.example", "/\\evil.example"):
        status, headers, _ = post(server, "/login", {"token": server.admin, "next": to})
        assert (status, headers["Location"]) == (303, "/")


def test_wrong_tokens_are_refused_and_counted(make):
    server = make("[limits]\nrequests = 20\n")
    answers = [post(server, "/login", {"token": f"hf_{n:037}"})[0] for n in range(25)]
    assert set(answers) == {401, 429}


def test_admins_make_and_revoke_tokens(server):
    cookie = sign_in(server, server.admin)
    form = {"name": "ci", "role": "write", "namespaces": "lab, other", "days": "30"}
    status, _, text = post(server, "/admin/tokens", form, cookie=cookie)
    secret = re.search(r"hf_\w{37}", text)[0]
    assert status == 200
    assert {"lab", "other"} == {org["name"] for org in json.loads(
        server.ask("/api/whoami-v2", token=secret)[2])["orgs"]}
    assert secret not in page(server, "/admin/tokens", cookie=cookie)[2]
    for wrong in ({"role": "god"}, {"days": "x"}, {"namespaces": "../x"}, {"name": "<b>"}):
        assert post(server, "/admin/tokens", form | wrong, cookie=cookie)[0] == 400, wrong
    token = json.loads(subprocess.check_output([AT1W, "token", "ls", server.store, "--json"]))
    token = next(token for token in token["tokens"] if token["name"] == "ci")
    assert post(server, "/admin/tokens/revoke", {"id": token["id"]}, cookie=cookie)[0] == 303
    text = page(server, "/admin/audit", cookie=cookie)[2]
    assert "token create" in text and "token revoke" in text and "root" in text


def test_admins_scrub(server, model):
    push(server, model, "lab/open")
    cookie = sign_in(server, server.admin)
    assert post(server, "/admin/scrub", {}, cookie=cookie)[0] == 303
    for _ in range(300):
        text = page(server, "/admin/scrub", cookie=cookie)[2]
        if "The last one of this server" in text:
            break
        time.sleep(0.1)
    assert "0 damaged places" in text
    assert "Last scrub" in page(server, "/lab/open")[2]
    # How much lies in the namespace is for those who may read all of it.
    assert "damaged place" not in page(server, "/lab/open")[2]
    assert "damaged place" in page(server, "/lab/open", server.admin)[2]
    assert "scrub" in page(server, "/admin/audit", cookie=cookie)[2]


def test_a_damaged_tensor_is_not_shown(server, model):
    push(server, model, "lab/open")
    packs = max((path.stat().st_size, path) for path in server_packs(server))[1]
    with open(packs, "r+b") as file:
        file.seek(1_000_000)
        file.write(b"\0" * 2_000_000)
    address = f"/lab/open/blob/main/{MODEL}?tensor=layer."
    answers = [page(server, f"{address}{layer}.weight")[0] for layer in range(3)]
    assert 500 in answers, answers
    assert page(server, "/lab/open")[0] == 200


def server_packs(server):
    if server.store.startswith("s3:"):
        pytest.skip("it damages files")
    return [path for path in pathlib.Path(server.store, "packs").rglob("*") if path.is_file()]


def test_clients_are_answered_as_before(server, model):
    push(server, model, "lab/open")
    for path in ("/gpt2/resolve/main/config.json", "/lab/open/info/refs?service=git-upload-pack",
                 "/favicon.ico", "/lab", "/metrics/x/y", "/v2/"):
        status, headers, body = server.ask(path, headers=HTML)
        assert status == 404 and headers["Content-Type"] == "application/json", path
    assert server.ask("/", "POST", server.admin, b"")[0] == 404
    assert server.ask("/lab/open", "DELETE", server.admin)[0] == 404
    status, headers, _ = server.ask("/lab/nobody")
    assert status == 404 and headers["X-Error-Code"] == "RepoNotFound"


def test_pages_show_what_is_there(server, odd, model):
    push(server, model, "lab/m", "first")
    write(model / "small.safetensors", {"bias": ("F32", [16], b"\1" * 64)})
    push(server, model, "lab/m", "second")
    text = page(server, "/lab/m")[2]
    for part in ("HF_ENDPOINT", "hf download lab/m", "license: mit", MODEL, "<svg"):
        assert part in text, part
    commits = re.findall(r"/lab/m/tree/([0-9a-f]{40})", page(server, "/lab/m/commits/main")[2])
    assert len(commits) == 2
    text = page(server, f"/lab/m/compare?from={commits[1]}&to={commits[0]}")[2]
    assert re.search(r"changed <data value=\"1\">", text) and ">bias<" in text
    text = page(server, f"/lab/m/blob/main/{MODEL}?filter=layer+bf16&sort=-name")[2]
    names = re.findall(r"<bdi>(layer\.\d\.weight)</bdi>", text)
    assert names == sorted(names, reverse=True) and names
    assert 'aria-sort="descending"' in text
    assert "No tensor has that" in page(server, f"/lab/m/blob/main/{MODEL}?filter=nope")[2]
    text = page(server, f"/lab/m/blob/main/{MODEL}?tensor=layer.0.weight")[2]
    assert "every chunk of it was verified" in text and "of 8 bits" in text
    digest = re.search(r"/lab/m/tensor/([0-9a-f]{64})", text)[1]
    text = page(server, f"/lab/m/tensor/{digest}")[2]
    assert all(commit in text for commit in commits)
    assert page(server, "/lab/m/tensor/xyz")[0] == 400
    assert page(server, f"/lab/m/blob/main/{MODEL}?tensor=nope")[0] == 404
    assert page(server, "/lab/m/blob/main/nope")[0] == 404
    assert page(server, "/lab/m?revision=nope")[0] == 404
    status, _, body = server.ask("/lab/m", "HEAD")
    assert status == 200 and body == b""
