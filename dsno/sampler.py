"""The samplers `dsno` and `knowledge_distillation`: one network call from noise to image."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dsno.loading import KIND, ZOO, load_student, method_of
from dsno.network import DSNO, logsnr_at
from dsno.temporal import FASTEST, FORMS, TemporalLayer
from samplers.denoiser import Denoiser
from samplers.errors import unknown
from samplers.models.unet import Attention, ResBlock
from samplers.models.zoo import ZooEntry
from samplers.protocol import Callback, Card
from samplers.students import StudentSampler


class DSNOSampler(StudentSampler):
    """Zheng et al., arXiv 2211.13449: one call decodes M points of the path, M forwards of work; the last one is the image.

    With a callback the whole path is decoded, and the callback told of each point; without one, only the image is made.

    Args:
        student: a student's name in the zoo or the path of its card; by default the shipped one of the teacher.
        form: of the temporal layers, "split", "folded" or "fft".
    """

    card = Card(
        name="dsno",
        family="dsno",
        paper="Zheng et al. 2022, arXiv 2211.13449",
        order=None,
        calls=lambda n: 1,
        training=True,
        steps=(1,),
        note="trained: one call decodes the whole path, at the work of M forwards",
    )

    kind = KIND
    folder = ZOO

    def __init__(self, *, student: str = "", form: str = FASTEST):
        super().__init__(student=student)
        if form not in FORMS:
            raise unknown("form of the temporal layer", form, FORMS)
        self._form = form
        self._network: DSNO | None = None

    def method_of(self, card: Mapping[str, Any]) -> str:
        method = method_of(card)
        return "dsno" if method == "no_temporal" else method

    def load(self, entry: ZooEntry, device: torch.device) -> tuple[int, int, int]:
        network, schedule = load_student(entry, device, self._form)
        self._network, self._decodes_images = network, entry.card.get("target", "x0") == "x0"
        self._levels = [schedule.sigma(t) for t in network.operator.times()]
        self._logsnr = logsnr_at(schedule, network.operator.times(), device)
        return network.config.channels, network.config.image_size, network.config.image_size

    def networks(self) -> list[nn.Module]:
        return [] if self._network is None else [self._network]

    def stages(self) -> dict[str, list[nn.Module]]:
        if self._network is None:
            return {}
        n = self._network
        found: dict[str, list[nn.Module]] = {"input convolution": [n.conv_in], "time embedding": [n.embed]}
        resolution = n.config.image_size // n.config.patch
        attention: list[nn.Module] = []
        for module in (*n.down, *n.middle, *n.up):
            blocks = [m for m in module.modules() if isinstance(m, ResBlock)]
            found.setdefault(f"spatial blocks {resolution}x{resolution}", []).extend(blocks)
            attention += [m for m in module.modules() if isinstance(m, Attention)]
            if isinstance(module, ResBlock):  # one that resamples is counted at the resolution it starts from
                resolution = {"down": resolution // 2, "up": resolution * 2}.get(module.resample or "", resolution)
        found["attention"] = attention
        if len(n.temporal):
            found["temporal layers"] = [m for m in n.temporal if isinstance(m, TemporalLayer)]
        found["output"] = [n.norm_out, n.conv_out]
        return found

    def sample(
        self,
        denoiser: Denoiser,
        noise: Tensor,
        *,
        steps: int,
        labels: Tensor | None = None,
        callback: Callback | None = None,
    ) -> Tensor:
        self.ready(denoiser, noise, steps, labels)
        assert self._network is not None
        z = noise.float().contiguous(memory_format=torch.channels_last)
        logsnr = self._logsnr.expand(len(z), -1)
        path = self._network(z, logsnr, labels, image_only=callback is None).to(noise.dtype)  # [B, M or 1, C, H, W]
        if callback is not None:
            # Noisy states are no images: a student that decodes those tells of its last point alone.
            points = range(len(self._levels)) if self._decodes_images else [len(self._levels) - 1]
            for n, i in enumerate(points):
                callback(n, self._levels[i] if i + 1 < len(self._levels) else 0.0, path[:, i], path[:, i])
        return path[:, -1]


class KnowledgeDistillation(DSNOSampler):
    """Luhman & Luhman, arXiv 2101.02388: regress the image from its noise. DSNO with M = 1 and no temporal layers."""

    card = Card(
        name="knowledge_distillation",
        family="knowledge_distillation",
        paper="Luhman & Luhman 2021, arXiv 2101.02388",
        order=None,
        calls=lambda n: 1,
        training=True,
        steps=(1,),
        note="trained: the image regressed from its noise, one call, one forward",
    )
