"""Files in a bucket, by a server of S3 in this process."""

import pytest

import at1w
import at1w.numpy
from conftest import assert_all_same

moto = pytest.importorskip("moto.server")


@pytest.fixture(scope="module")
def bucket(files):
    import boto3

    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": endpoint,
        }.items():
            patch.setenv(name, value)
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        client.create_bucket(Bucket="models")
        for path in files.values():
            client.upload_file(str(path), "models", f"a b/{path.name}")
        yield "s3://models/a b"
    server.stop()


@pytest.mark.parametrize("suffix", ["at1w", "safetensors"])
def test_objects_are_read_as_files(bucket, files, tensors, suffix):
    url = f"{bucket}/model.{suffix}"
    assert_all_same(at1w.load(url), tensors)
    assert list(at1w.verify(url)) == [url]
    with at1w.safe_open(url, "np") as f, at1w.safe_open(files[suffix], "np") as here:
        assert f.root == here.root
        assert f.get_slice("wide")[3].tobytes() == tensors["wide"][3].tobytes()
        assert f.bytes_read < files[suffix].stat().st_size


def test_what_is_missing_is_said(bucket, monkeypatch):
    with pytest.raises(FileNotFoundError, match="gone"):
        at1w.safe_open(f"{bucket}/gone.at1w", "np")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ValueError, match="AWS_ACCESS_KEY_ID is not set"):
        at1w.safe_open(f"{bucket}/model.at1w", "np")
