"""Inception with random weights, in a file as the published one is."""

from pathlib import Path

import pytest
import torch
from torch import nn


def write(path: Path) -> Path:
    """Random weights that carry signal: He initialisation, batch statistics of a few images."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        patch.setattr("torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        network = FeatureExtractorInceptionV3("inception", ["2048"], verbose=False)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        with torch.no_grad():
            network.train()(torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8))
    # The published file has no counts of batches.
    state = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert len(state) == 472
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    return path
