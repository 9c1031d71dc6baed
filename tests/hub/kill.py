"""Kills a server during uploads by unmodified clients, and starts it again. Checks that the
client's retry succeeds, and that no revision is half there. Clients send some requests once, to make a
repository and to commit; one whose request was cut is started again.

kill.py [KILLS]; AT1W is the command line.
"""

import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import threading
import time

from conftest import AT1W, Server, same, weights

KILLS = int(sys.argv[1]) if len(sys.argv) > 1 else 50


def main():
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        model = place / "model"
        model.mkdir()
        server = Server(place / "server").start()
        number, killed, failed = 0, 0, 0
        while killed < KILLS:
            number += 1
            weights(model / "model.safetensors", 26, seed=number)
            (model / "config.json").write_text(f'{{"number": {number}}}')
            way = {"HF_HUB_DISABLE_XET": "1"} if number % 2 else {}
            command = ["hf", "upload", "lab/model", str(model)]
            environment = server.environment(place / "home", server.admin, **way)
            client = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT)
            time.sleep(random.uniform(0.6, 2.0))
            if client.poll() is None:
                killed += 1
            server.kill()
            time.sleep(0.2)
            server.start()
            output = client.communicate(timeout=300)[0].decode()
            if client.returncode:
                # A client whose own retries ran out is started again by its user.
                failed += 1
                frames = re.findall(r'huggingface_hub/\S+", line \d+, in (\w+)', output)
                print(f"{' > '.join(frames[-4:])}: {output.strip().splitlines()[-1]}", file=sys.stderr)
                done = server.run(place / "home", *command, token=server.admin, check=False, **way)
                assert done.returncode == 0, output + done.stdout + done.stderr + server.tail()
            back = place / "back"
            download = ["hf", "download", "lab/model", "--local-dir", str(back)]
            server.run(place / "other", *download)
            same(model, back)
        scrub = subprocess.run([AT1W, "store", "scrub", server.store], capture_output=True)
        assert scrub.returncode == 0, scrub.stdout.decode() + scrub.stderr.decode()
        # Each commit that was acknowledged has its usage record.
        check = subprocess.run([AT1W, "meter", "check", server.store, "--json"], capture_output=True)
        assert check.returncode == 0, check.stdout.decode() + check.stderr.decode()
        log = subprocess.check_output([AT1W, "repo", "log", server.store, "lab/model", "--json"])
        entries = json.loads(check.stdout)["entries"]
        assert entries >= len(json.loads(log)["commits"]), entries
        left = [path for path in server.staging.rglob("*") if path.is_file() and path.name != "lock"]
        assert not left, left
        server.stop()
        print(f"{number} uploads, {killed} servers killed meanwhile, {failed} clients started again,"
              " all revisions whole, the store proven, every commit recorded")


main()
