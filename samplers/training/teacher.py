"""`bench train teacher`: a class-conditional x-, eps- or v-prediction diffusion model on the cosine VP schedule.

The loss of progressive distillation (arXiv 2202.00512, section 4): ||x0_hat - x0||^2 weighted by the truncated SNR,
max(SNR, 1), at t uniform in [0, 1]; here the SNR may also be capped from above. What a cap costs: with one of 100 the network's
error in the noise at sigma 0.002 was five times a trivial denoiser's, and solvers with steps down there are worse for it.
"""

import math
from pathlib import Path
from typing import Annotated, Any, Self

import torch
from pydantic import Field, ValidationInfo, field_validator, model_validator
from torch import Tensor, nn

from samplers.errors import UserError
from samplers.models.scaling import VP
from samplers.models.sizes import UNetConfig, UNetSizes
from samplers.models.unet import UNet, parameter_count
from samplers.models.unet_teacher import UNetTeacher
from samplers.schedule import Cosine
from samplers.settings import Settings
from samplers.training.loop import Trained
from samplers.training.optimisation import Optimisation
from samplers.training.precision import autocast
from samplers.training.recipe import Name, Share, one_of
from samplers.training.trainer import Training

HELD_OUT_SIGMAS = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)


class TeacherNetwork(UNetSizes):
    """The sizes of a teacher that a recipe gives; the others are its images'."""

    classes: int | None = Field(None, ge=0, le=65536, description="0 for an unconditional network; null for the data's")


class TeacherRecipe(Settings):
    """The section `teacher` of a recipe."""

    name: Name = Field(description="of the teacher: its card's and its weights' file")
    network: TeacherNetwork = Field(description="sizes of the U-Net")
    parameterisation: Annotated[str, one_of("parameterisation", VP)] = Field(
        description="what the network predicts: `x`, `eps` or `v`"
    )
    sigma_min: float = Field(gt=0, description="lowest noise level of the schedule")
    sigma_max: float = Field(gt=0, le=1e10, description="highest noise level of the schedule")
    sigma_end: float | None = Field(
        None, gt=0, description="noise level at which sampling may end, for the card; null for sigma_min"
    )
    label_dropout: Share = Field(description="share of images without their class")
    snr_cap: float | None = Field(ge=1, description="most that an image weighs; null for no cap")
    optimisation: Optimisation = Field(description="how it is trained")

    @field_validator("snr_cap")
    @classmethod
    def _reached(cls, value: float | None, told: ValidationInfo) -> float | None:
        """A cap above the lowest level's SNR is none."""
        return None if value is not None and value >= told.data.get("sigma_min", math.inf) ** -2 else value

    @model_validator(mode="after")
    def _levels_rise(self) -> Self:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_max must be above sigma_min, {self.sigma_min}, got {self.sigma_max}")
        if self.sigma_end is not None and not self.sigma_min <= self.sigma_end < self.sigma_max:
            raise ValueError(f"sigma_end must be from sigma_min to below sigma_max, got {self.sigma_end}")
        return self


class TeacherTraining(Training[TeacherRecipe]):
    """A teacher by the section `teacher`, from the images of the section `data`."""

    section, Recipe = "teacher", TeacherRecipe

    def run(self) -> Path:
        r = self.r
        self.data, self.scored = self.splits()
        torch.manual_seed(r.optimisation.seed)
        size, own = self.data.images.shape, r.network.model_dump()
        classes = self.data.num_classes if r.network.classes is None else r.network.classes
        if 0 < classes < self.data.num_classes:
            raise UserError(f"{self.where}: network: classes: the images have {self.data.num_classes}, the network {classes}")
        self.config = UNetConfig(**own | {"channels": size[1], "image_size": size[2], "classes": classes})
        self.schedule = Cosine(r.sigma_min, r.sigma_max)
        self.teacher = UNetTeacher(UNet(self.config), r.parameterisation, self.schedule).to(self.device)
        self.teacher.to(memory_format=torch.channels_last)
        identity = {"recipe": self.recipe_told(), "data_sha256": self.data.sha256}
        return self.finish(self.teacher.network, r.name, r.optimisation, identity)

    def loss(self, network: nn.Module, generator: torch.Generator, step: int) -> Tensor:
        part = self.r.optimisation.part
        x0, labels = self.draw(self.data, part, self.r.label_dropout, generator)
        # One time in each of `part` equal intervals: uniform over the batch, with less variance than independent draws.
        t = (torch.arange(part) + torch.rand(part, generator=generator)) / part
        sigma = torch.tensor([self.schedule.sigma(u) for u in t[self.mine].tolist()]).to(self.device, non_blocking=True)
        return denoising_loss(self.teacher, x0, sigma, self.noise_for(x0, part, generator), labels, self.r.snr_cap)

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        generator, images = torch.Generator().manual_seed(0), self.scored
        x0, labels = images.floats(slice(0, 256)).to(self.device), images.labels[:256].to(self.device)
        rmse = {}
        for sigma in HELD_OUT_SIGMAS:
            eps = torch.randn(x0.shape, generator=generator).to(self.device)
            rmse[f"rmse@{sigma}"] = float((self.teacher(x0 + sigma * eps, sigma, labels) - x0).square().mean().sqrt())
        return rmse

    def card(self, trained: Trained) -> dict[str, Any]:
        return {
            "kind": "teacher",
            "network": self.config.values(),
            "parameters": parameter_count(self.teacher.network),
            "parameterisation": self.r.parameterisation,
            "sigma_min": self.schedule.sigma_min,
            "sigma_max": self.schedule.sigma_max,
            **({} if self.r.sigma_end is None else {"sigma_end": self.r.sigma_end}),
        }


def denoising_loss(
    teacher: UNetTeacher, x0: Tensor, sigma: Tensor, eps: Tensor, labels: Tensor | None, snr_cap: float | None
) -> Tensor:
    """Mean over the batch of clip(SNR, 1, snr_cap) * ||x0_hat - x0||^2 / pixels, SNR = 1 / sigma^2 (sigma [B])."""
    noisy = x0 + sigma[:, None, None, None] * eps
    with autocast(x0.device):
        x0_hat = teacher(noisy, sigma, labels).float()
    weight = sigma.pow(-2).clamp(1, snr_cap)
    return (weight * (x0_hat - x0).square().mean(dim=(1, 2, 3))).mean()
