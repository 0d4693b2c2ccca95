"""An extractor of ours as torch-fidelity knows one, to hold our scores against its own."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from bench.quality.extractor import Extractor, features_of

LAYERS = ("features", "logits")


def register(extractor: Extractor) -> str:
    """Register an extractor with torch-fidelity, for its `calculate_metrics(feature_extractor=NAME)`; returns that name.

    The name carries the weights' hash, because torch-fidelity's cache knows an extractor by its name alone. Layers:
    "features" and "logits".
    """
    from torch_fidelity import FeatureExtractorBase, register_feature_extractor
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

    class Registered(FeatureExtractorBase):
        def __init__(self, name: str, features_list: Sequence[str], **kwargs: Any):
            super().__init__(name, list(features_list))

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return LAYERS

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "logits" if metric == "isc" else "features"

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            found = features_of(extractor, images)._asdict()
            return tuple(found[layer] for layer in self.features_list)

    name = f"{extractor.name}-{extractor.sha256[:12]}"
    if name not in FEATURE_EXTRACTORS_REGISTRY:
        register_feature_extractor(name, Registered)
    return name
