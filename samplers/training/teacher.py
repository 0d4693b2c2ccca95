"""`bench train teacher`: a class-conditional x-, eps- or v-prediction diffusion model on the cosine VP schedule.

The loss of progressive distillation (arXiv 2202.00512, section 4): ||x0_hat - x0||^2 weighted by the truncated SNR,
max(SNR, 1), at t uniform in [0, 1]; here the SNR is also capped from above, so that nearly noiseless images, which no
sampler's quality hangs on, do not drown the others in a short training.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from samplers.models.unet import UNet, UNetConfig, parameter_count
from samplers.models.unet_teacher import UNetTeacher
from samplers.schedule import Cosine
from samplers.training.cards import write_zoo
from samplers.training.loop import fit
from samplers.training.optimisation import normal
from samplers.training.precision import autocast, use_all_cores
from samplers.training.recipe import DATA, load_recipe, load_split, optimisation
from samplers.world import World

KEYS = ("name", "network", "parameterisation", "sigma_min", "sigma_max", "label_dropout", "snr_cap", "optimisation")
HELD_OUT_SIGMAS = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)


def train(recipe: str | Path, data: Path | None, out: Path, *, device: torch.device | str = "cpu", quiet: bool = False) -> Path:
    """Train (or resume) the teacher of a recipe; returns the path of its card, weights beside it.

    Under torchrun each process computes its share of a batch.

    Args:
        recipe: a shipped recipe's name or a YAML file with sections `data` and `teacher`.
        data: folder of the recipe's data files; by default data/.
        out: folder for the checkpoint, the log, and in the end the card and weights.

    Raises:
        UserError: bad recipe or data, another training's folder, or NaN in the loss.
    """
    use_all_cores()
    world = World.join(device)
    device = world.device
    data = data or Path("data")
    content = load_recipe(recipe, {"data": DATA, "teacher": KEYS})
    r = content["teacher"]
    o = optimisation(r["optimisation"], str(recipe))
    world.share(o.part, str(recipe))
    train_set, held_out = (load_split(content["data"], split, data).near(device) for split in ("train", "held_out"))
    torch.manual_seed(o.seed)
    size = train_set.images.shape
    config = UNetConfig.from_dict(
        {"channels": size[1], "image_size": size[2], "classes": train_set.num_classes, **r["network"]}
    )
    schedule, mine = Cosine(r["sigma_min"], r["sigma_max"]), slice(world.rank, None, world.size)
    teacher = UNetTeacher(UNet(config), r["parameterisation"], schedule).to(device).to(memory_format=torch.channels_last)

    def loss(network: nn.Module, generator: torch.Generator, step: int) -> Tensor:
        x0, labels = (v[mine].to(device, non_blocking=True) for v in train_set.draw(o.part, r["label_dropout"], generator))
        # One time in each of `part` equal intervals: uniform over the batch, with less variance than independent draws.
        t = (torch.arange(o.part) + torch.rand(o.part, generator=generator)) / o.part
        sigma = torch.tensor([schedule.sigma(u) for u in t[mine].tolist()]).to(device, non_blocking=True)
        eps = normal((o.part, *x0.shape[1:]), generator, device)[mine]
        return denoising_loss(teacher, x0, sigma, eps, labels, r["snr_cap"])

    @torch.no_grad()
    def validate(network: nn.Module) -> dict[str, float]:
        generator = torch.Generator().manual_seed(0)
        x0, labels = held_out.floats(slice(0, 256)).to(device), held_out.labels[:256].to(device)
        rmse = {}
        for sigma in HELD_OUT_SIGMAS:
            eps = torch.randn(x0.shape, generator=generator).to(device)
            rmse[f"rmse@{sigma}"] = float((teacher(x0 + sigma * eps, sigma, labels) - x0).square().mean().sqrt())
        return rmse

    identity = {"recipe": content, "data_sha256": train_set.sha256}
    options: dict[str, Any] = {"identity": identity, "validate": validate, "world": world, "quiet": quiet}
    result = fit(teacher.network, loss, o, out, title=f"teacher {r['name']}", **options)
    card = {
        "kind": "teacher",
        "network": config.to_dict(),
        "parameters": parameter_count(teacher.network),
        "parameterisation": r["parameterisation"],
        "sigma_min": schedule.sigma_min,
        "sigma_max": schedule.sigma_max,
    }
    if world.rank == 0:
        write_zoo(out, r["name"], card, result, identity, device)
    world.wait()
    return out / f"{r['name']}.json"


def denoising_loss(
    teacher: UNetTeacher, x0: Tensor, sigma: Tensor, eps: Tensor, labels: Tensor | None, snr_cap: float
) -> Tensor:
    """Mean over the batch of clip(SNR, 1, snr_cap) * ||x0_hat - x0||^2 / pixels, SNR = 1 / sigma^2 (sigma [B])."""
    noisy = x0 + sigma[:, None, None, None] * eps
    with autocast(x0.device):
        x0_hat = teacher(noisy, sigma, labels).float()
    weight = sigma.pow(-2).clamp(1, snr_cap)
    return (weight * (x0_hat - x0).square().mean(dim=(1, 2, 3))).mean()
