"""`bench train extractor`: the classifier that scores a study's images, and the reference that it compares them with."""

from contextlib import nullcontext
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.quality.classifier import Classifier, ClassifierConfig, extract
from bench.quality.frechet import frechet_distance
from bench.quality.moments import Moments
from bench.quality.reference import Reference
from samplers.models.weights import save_tensors
from samplers.training.cards import write_zoo
from samplers.training.data import mirrored
from samplers.training.loop import fit
from samplers.training.precision import autocast, reproducible_float32, use_all_cores
from samplers.training.recipe import DATA, load_recipe, load_split, optimisation

KEYS = ("name", "network", "shift", "reference_images", "optimisation")


def train(recipe: str | Path, data: Path | None, out: Path, *, device: torch.device | str = "cpu", quiet: bool = False) -> Path:
    """Train (or resume) the extractor of a recipe; returns the path of its card, weights and reference beside it.

    The reference is made with the weights as stored (fp16), from the training split: float64 mean and covariance, and a
    random sample of the features. The card records the accuracy on the held-out split and that split's Frechet distance to
    the reference: what perfect samples of as many images would read.

    Args:
        recipe: a shipped recipe's name or a YAML file with sections `data` and `extractor`.
        data: folder of the recipe's data files; by default data/.
        out: folder for the checkpoint, the log, and in the end the card, weights and reference.
        device: where to train.
        quiet: no progress bar.

    Raises:
        UserError: bad recipe or data, another training's folder, or NaN in the loss.
    """
    use_all_cores()
    data = data or Path("data")
    content = load_recipe(recipe, {"data": DATA, "extractor": KEYS})
    r, device = content["extractor"], torch.device(device)
    train_set, held_out = load_split(content["data"], "train", data), load_split(content["data"], "held_out", data)
    o = optimisation(r["optimisation"], str(recipe))
    torch.manual_seed(o.seed)
    shape = train_set.images.shape
    config = ClassifierConfig.from_dict(
        {"channels": shape[1], "image_size": shape[2], "classes": train_set.num_classes, **r["network"]}
    )

    def fresh() -> Classifier:
        network = Classifier(config).to(device)
        return network.to(memory_format=torch.channels_last) if config.blocks else network

    network = fresh()
    shifts = 2 * r["shift"] + 1
    # All shifts of all images as one view: [N, C, shift y, shift x, H, W].
    windows = F.pad(train_set.images.to(device), (r["shift"],) * 4).unfold(2, shape[2], 1).unfold(3, shape[3], 1)

    def loss(network: nn.Module, generator: torch.Generator, step: int) -> Tensor:
        chosen = torch.randint(shape[0], (o.part,), generator=generator)
        dy, dx = torch.randint(shifts, (2, o.part), generator=generator)
        labels = train_set.labels[chosen].to(device, non_blocking=True)
        i, y, x = (v.to(device, non_blocking=True) for v in (chosen, dy, dx))
        images = windows[i, :, y, x].float() / 127.5 - 1  # [B, C, H, W]
        if train_set.flip:
            images = mirrored(images, generator)
        with autocast(device) if config.blocks else nullcontext():  # the plain one is too small to gain by bfloat16
            _, logits = network(images)
        return F.cross_entropy(logits.float(), labels)

    def validate(network: nn.Module) -> dict[str, float]:
        assert isinstance(network, Classifier)
        return {"accuracy": accuracy(network, held_out.images.to(device), held_out.labels.to(device))}

    identity = {"recipe": content, "data_sha256": train_set.sha256}
    result = fit(network, loss, o, out, title=f"extractor {r['name']}", identity=identity, validate=validate, quiet=quiet)
    network = fresh()  # not the one that was compiled for training
    network.load_state_dict({k: v.half() for k, v in result.ema.items()})
    network.eval()
    reproducible_float32()  # as 'bench run' scores
    features = extract(network, train_set.images.to(device))[0].cpu()
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(o.seed))
    moments = Moments.of(features)
    stored = moments.to_tensors() | {"features": features[order[: r["reference_images"]]].half()}
    reference = f"{r['name']}_reference.safetensors"
    digest = save_tensors(out / reference, stored, {"name": r["name"]})
    held_out_features = extract(network, held_out.images.to(device))[0].cpu()
    card = {
        "kind": "extractor",
        "network": config.to_dict(),
        "reference": reference,
        "reference_sha256": digest,
        "test_accuracy": accuracy(network, held_out.images.to(device), held_out.labels.to(device)),
        "floor": {
            "frechet_distance": round(frechet_distance(Moments.of(held_out_features), Reference(moments)), 6),
            "images": len(held_out_features),
        },
    }
    return write_zoo(out, r["name"], card, result, identity, device)


def accuracy(network: Classifier, images: Tensor, labels: Tensor) -> float:
    """The fraction of uint8 images [N, C, H, W] whose largest logit is their label [N]."""
    return float((extract(network, images)[1].argmax(dim=1) == labels).double().mean())
