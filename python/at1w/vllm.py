"""Weights for vLLM: with ``--load-format at1w`` it streams them, packed or plain, from wherever
they lie, straight into the model: a folder, a bucket, a hub, a web server.

vLLM finds this module by itself where at1w is installed. ``--model-loader-extra-config`` takes
``weights``, a path or URL of the weights where they do not lie beside the configuration of the
model, and ``root``, the expected root of a single packed file.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from vllm.model_executor.model_loader import register_model_loader
from vllm.model_executor.model_loader.base_loader import BaseModelLoader

from ._at1w import is_url
from ._load import stream

__all__ = ["At1wModelLoader", "register"]


class At1wModelLoader(BaseModelLoader):
    """Loads the weights of a model of vLLM, each tensor proven before the model sees it. Beyond the
    model it holds at most 256 MiB."""

    def __init__(self, load_config: Any) -> None:
        """Raises ValueError for an option that is none of ``weights`` and ``root``."""
        super().__init__(load_config)
        options = dict(load_config.model_loader_extra_config or {})
        self._weights: str | None = options.pop("weights", None)
        self._root: str | None = options.pop("root", None)
        if options:
            unknown = ", ".join(sorted(options))
            known = "only weights and root are known"
            raise ValueError(f"model_loader_extra_config: {unknown}: {known}")

    def download_model(self, model_config: Any) -> None:
        """Does nothing: the weights come when they are loaded."""

    def load_weights(self, model: torch.nn.Module, model_config: Any) -> None:
        """Streams the weights into a model.

        Raises as ``at1w.load``, and ValueError if a parameter of a model that is not quantized got
        no weights.
        """
        place = self._place(model_config)
        # Models say so of parts that they never look at.
        unused = getattr(model, "is_unused_checkpoint_weight", None)
        names = None if unused is None else lambda name: not unused(name)
        weights = stream(place, names=names, framework="pt", root=self._root)
        loaded = model.load_weights(weights)
        if loaded is not None and model_config.quantization is None:
            missing = {name for name, _ in model.named_parameters()} - set(loaded)
            if missing:
                raise ValueError(f"{place}: has no weights for {', '.join(sorted(missing))}")

    def _place(self, model_config: Any) -> str:
        """Returns where the weights lie: by the options, beside the model, or on a hub."""
        place = self._weights or getattr(model_config, "model_weights", "") or model_config.model
        if is_url(place):
            # vLLM writes folders of buckets without the slash.
            is_file = place.endswith((".at1w", ".safetensors"))
            return place if is_file or place.startswith("hf://") else place.rstrip("/") + "/"
        if os.path.exists(place):
            return place
        revision = f"@{model_config.revision}" if model_config.revision else ""
        return f"hf://{place}{revision}"


def register() -> None:
    """Makes the format ``at1w`` known to vLLM."""
    register_model_loader("at1w")(At1wModelLoader)
