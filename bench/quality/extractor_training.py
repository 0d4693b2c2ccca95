"""`bench train extractor`: the classifier that scores a study's images, and the reference that it compares them with."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from bench.quality.classifier import Classifier, ClassifierConfig, ClassifierSizes, extract
from bench.quality.frechet import frechet_distance
from bench.quality.moments import Moments
from bench.quality.reference import Reference
from samplers.models.weights import save_tensors
from samplers.settings import Settings
from samplers.training.data import mirrored
from samplers.training.loop import Trained
from samplers.training.optimisation import Optimisation
from samplers.training.precision import autocast, reproducible_float32
from samplers.training.recipe import Name
from samplers.training.trainer import Training


class ExtractorRecipe(Settings):
    """The section `extractor` of a recipe."""

    name: Name = Field(description="of the extractor: its card's and its weights' file")
    network: ClassifierSizes = Field(description="sizes of the classifier")
    shift: int = Field(ge=0, le=64, description="pixels that images are shifted by at most, each way, while it trains")
    reference_images: int = Field(ge=1, description="images whose features the reference keeps")
    optimisation: Optimisation = Field(description="how it is trained")


class ExtractorTraining(Training[ExtractorRecipe]):
    """An extractor by the section `extractor`, from the images of the section `data`; its reference is written beside it.

    The reference is made with the weights as stored (fp16), from the training split: float64 mean and covariance, and a
    random sample of the features. The card records the accuracy on the held-out split and that split's Frechet distance to
    the reference: what perfect samples of as many images would read.
    """

    section, Recipe = "extractor", ExtractorRecipe

    def run(self) -> Path:
        r = self.r
        self.data, self.scored = self.splits()
        torch.manual_seed(r.optimisation.seed)
        _, channels, size, _ = self.data.images.shape
        sizes = {"channels": channels, "image_size": size, "classes": self.data.num_classes}
        self.config = ClassifierConfig(**r.network.model_dump() | sizes)
        # All shifts of all images as one view: [N, C, shift y, shift x, H, W].
        self.windows = F.pad(self.data.images.to(self.device), (r.shift,) * 4).unfold(2, size, 1).unfold(3, size, 1)
        return self.finish(
            self._fresh(), r.name, r.optimisation, {"recipe": self.recipe_told(), "data_sha256": self.data.sha256}
        )

    def _fresh(self) -> Classifier:
        network = Classifier(self.config).to(self.device)
        return network.to(memory_format=torch.channels_last) if self.config.blocks else network

    def loss(self, network: nn.Module, generator: torch.Generator, step: int) -> Tensor:
        part = self.r.optimisation.part
        chosen = torch.randint(len(self.data.images), (part,), generator=generator)[self.mine]
        dy, dx = torch.randint(2 * self.r.shift + 1, (2, part), generator=generator)[:, self.mine]
        labels = self.data.labels[chosen].to(self.device, non_blocking=True)
        i, y, x = (v.to(self.device, non_blocking=True) for v in (chosen, dy, dx))
        images = self.windows[i, :, y, x].float() / 127.5 - 1  # [B, C, H, W]
        if self.data.flip:
            images = mirrored(images, generator)
        with autocast(self.device) if self.config.blocks else nullcontext():  # the plain one is too small to gain by bfloat16
            _, logits = network(images)
        return F.cross_entropy(logits.float(), labels)

    def validate(self, network: nn.Module) -> dict[str, float]:
        assert isinstance(network, Classifier)
        _, logits = extract(network, self.scored.images.to(self.device))
        return {"accuracy": float((logits.argmax(dim=1) == self.scored.labels.to(self.device)).double().mean())}

    def card(self, trained: Trained) -> dict[str, Any]:
        network = self._fresh()  # not the one that was compiled for training
        network.load_state_dict({k: v.half() for k, v in trained.ema.items()})
        network.eval()
        reproducible_float32()  # as 'bench run' scores
        features = extract(network, self.data.images.to(self.device))[0].cpu()
        order = torch.randperm(len(features), generator=torch.Generator().manual_seed(self.r.optimisation.seed))
        moments = Moments.of(features)
        stored = moments.to_tensors() | {"features": features[order[: self.r.reference_images]].half()}
        reference = f"{self.r.name}_reference.safetensors"
        digest = save_tensors(self.out / reference, stored, {"name": self.r.name})
        held_out = extract(network, self.scored.images.to(self.device))[0].cpu()
        return {
            "kind": "extractor",
            "network": self.config.values(),
            "reference": reference,
            "reference_sha256": digest,
            "test_accuracy": self.validate(network)["accuracy"],
            "floor": {
                "frechet_distance": round(frechet_distance(Moments.of(held_out), Reference(moments)), 6),
                "images": len(held_out),
            },
        }
