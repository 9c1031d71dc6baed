"""The work on a store as tasks of a local Ray cluster of two nodes, of which one dies."""

import io
import json
import os

import numpy as np
import ray
from at1w import Store
from at1w import ray as tasks
from at1w.numpy import save_file
from ray.cluster_utils import Cluster


def test_a_worker_that_dies_costs_a_retry(tmp_path):
    rng = np.random.default_rng(1)
    folders = []
    for n in range(12):
        folder = tmp_path / f"model-{n}"
        folder.mkdir()
        weights = {"w": rng.normal(0, 0.02, (500, 500)).astype("f4")}
        save_file(weights, folder / "model.safetensors")
        folders.append(folder)
    store = os.fspath(tmp_path / "models")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    other = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        work = [(tasks.push, (store, "lab", os.fspath(folder), "default")) for folder in folders]

        class Out(io.StringIO):
            def write(self, text):
                # One node dies while the others work.
                if '"done"' in text and "killed" not in self.__dict__:
                    self.killed = True
                    cluster.remove_node(other, allow_graceful=False)
                return super().write(text)

        out = Out()
        assert tasks.run(work, out) == 0
        lines = [json.loads(line) for line in out.getvalue().splitlines()]
        assert lines[-1]["event"] == "summary" and lines[-1]["done"] == 12
        repos = Store(store).repos()
        assert len(repos) == 12
        # Nothing was done twice.
        assert all(len(Store(store).log(repo.name)) == 1 for repo in repos)
        scrubs = [(tasks.scrub, (store, repo.name)) for repo in repos]
        assert tasks.run(scrubs, io.StringIO()) == 0
    finally:
        ray.shutdown()
        cluster.shutdown()
