"""Libraries that load models, unmodified: `ci/hub all` installs them."""

import subprocess
import sys

import pytest

from test_clients import python, upload

pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

MAKE = """
import torch
from transformers import BertConfig, BertModel
torch.manual_seed(0)
config = BertConfig(vocab_size=500, hidden_size=64, num_hidden_layers=4, num_attention_heads=4,
                    intermediate_size=128)
model = BertModel(config).to(torch.bfloat16)
model.save_pretrained({single!r})
model.save_pretrained({sharded!r}, max_shard_size="100KB")
"""

LOAD = """
import hashlib, torch
from transformers import AutoModel
def digest(model):
    state = model.state_dict()
    all = b"".join(name.encode() + state[name].contiguous().view(torch.uint8).numpy().tobytes()
                   for name in sorted(state) if state[name].dtype == torch.bfloat16)
    return hashlib.sha256(all).hexdigest()
print(json.dumps([digest(AutoModel.from_pretrained(place, dtype=torch.bfloat16)) for place in {places!r}]))
"""


def test_from_pretrained_single_and_sharded(server, home, tmp_path):
    single, sharded = str(tmp_path / "single"), str(tmp_path / "sharded")
    made = MAKE.format(single=single, sharded=sharded)
    subprocess.run([sys.executable, "-c", made], check=True, capture_output=True)
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 2
    for name in ("single", "sharded"):
        upload(server, home, tmp_path / name, f"lab/{name}")
    places = [single, "lab/single", "lab/sharded"]
    digests = python(server, tmp_path / "other", LOAD.format(places=places))
    assert len(digests) == 3 and len(set(digests)) == 1


LOGITS = """
import hashlib, pathlib, torch
{hook}
from transformers import AutoModelForMaskedLM
model = AutoModelForMaskedLM.from_pretrained("lab/masked", dtype=torch.bfloat16).eval()
with torch.no_grad():
    logits = model(torch.arange(1, 65).reshape(1, 64)).logits
bits = hashlib.sha256(logits.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()
blobs = pathlib.Path(os.environ["HF_HOME"], "hub").rglob("blobs/*")
print(json.dumps([bits, sum(blob.stat().st_size for blob in blobs)]))
"""


def test_logits_through_the_hook_are_the_same_bits(server, home, tmp_path):
    folder = str(tmp_path / "masked")
    made = f"""
import torch
from transformers import BertConfig, BertForMaskedLM
torch.manual_seed(0)
config = BertConfig(vocab_size=5000, hidden_size=256, num_hidden_layers=4, num_attention_heads=4,
                    intermediate_size=1024)
BertForMaskedLM(config).to(torch.bfloat16).save_pretrained({folder!r})
"""
    subprocess.run([sys.executable, "-c", made], check=True, capture_output=True)
    upload(server, home, folder, "lab/masked")
    plain, size = python(server, tmp_path / "plain", LOGITS.format(hook=""))
    hook = "import at1w.hook; at1w.hook.enable()"
    packed, packed_size = python(server, tmp_path / "packed", LOGITS.format(hook=hook))
    assert packed == plain
    assert packed_size <= 0.68 * size, f"{packed_size} of {size}"


def test_a_diffusion_pipeline(server, home, tmp_path):
    pytest.importorskip("diffusers")
    folder = tmp_path / "pipeline"
    made = f"""
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
unet = UNet2DModel(sample_size=8, in_channels=1, out_channels=1, layers_per_block=1,
                   block_out_channels=(32, 32), down_block_types=("DownBlock2D", "DownBlock2D"),
                   up_block_types=("UpBlock2D", "UpBlock2D"))
DDPMPipeline(unet, DDPMScheduler()).save_pretrained({str(folder)!r})
"""
    subprocess.run([sys.executable, "-c", made], check=True, capture_output=True)
    upload(server, home, folder, "lab/pipeline")
    code = f"""
from diffusers import DDPMPipeline
loaded, made = (DDPMPipeline.from_pretrained(place) for place in ("lab/pipeline", {str(folder)!r}))
state = made.unet.state_dict()
print(json.dumps(all(bool((value == state[name]).all()) for name, value in loaded.unet.state_dict().items())))
"""
    assert python(server, tmp_path / "other", code) is True
