"""Train a small `UNet2DModel` by diffusers' own DDPM recipe on MNIST: a folder that `--teacher diffusers:FOLDER` takes.

    python examples/diffusers_ddpm.py --data DATA --out runs/ddpm-mnist32
    bench run --plan examples/diffusers_ddpm.yaml

The recipe is the library's (its tutorial "Train a diffusion model", its script train_unconditional.py): noise is predicted at
random steps of `DDPMScheduler`, by AdamW under a cosine with a warm-up, gradients cut at 1, weights averaged by `EMAModel`. The
network is small enough for two CPU cores: 0.8 million weights, 139 MFLOP a forward.
"""

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from diffusers.optimization import get_cosine_schedule_with_warmup
from diffusers.training_utils import EMAModel

from samplers import UserError
from samplers.files import write_json
from samplers.training.data import ImageSet, load_images

FILE = "mnist-28x28-train.zip"
"""In DATA: EDM's layout, images with a `dataset.json`; padded to 32 x 32."""


def unet() -> UNet2DModel:
    """Of grey images of 32 x 32, with attention at 4 x 4."""
    return UNet2DModel(
        sample_size=32,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(16, 32, 32, 64),
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"),
    )


def train(data: ImageSet, steps: int, batch: int, rate: float, seed: int, device: torch.device) -> tuple[DDPMPipeline, float]:
    """The pipeline with averaged weights, and the mean loss of the last tenth of the steps."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network, scheduler = unet().to(device), DDPMScheduler(num_train_timesteps=1000)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, betas=(0.95, 0.999), weight_decay=1e-6)
    decay = get_cosine_schedule_with_warmup(optimiser, num_warmup_steps=min(500, steps // 4), num_training_steps=steps)
    ema = EMAModel(network.parameters(), decay=0.9999, use_ema_warmup=True, power=0.75)
    losses: list[float] = []
    for step in range(1, steps + 1):
        images = data.floats(torch.randint(len(data.images), (batch,), generator=generator))
        noise, times = torch.randn(images.shape, generator=generator), torch.randint(1000, (batch,), generator=generator)
        noisy = scheduler.add_noise(images, noise, times)
        loss = F.mse_loss(network(noisy.to(device), times.to(device)).sample, noise.to(device))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        decay.step()
        optimiser.zero_grad()
        ema.step(network.parameters())
        losses.append(float(loss.detach()))
        if step % 100 == 0 or step == steps:
            print(f"step {step} of {steps}, loss {sum(losses[-100:]) / len(losses[-100:]):.4f}", flush=True)
    ema.copy_to(network.parameters())
    last = losses[-max(steps // 10, 1) :]
    return DDPMPipeline(network, scheduler), sum(last) / len(last)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help=f"folder with {FILE}")
    parser.add_argument("--out", type=Path, default=Path("runs/ddpm-mnist32"), help="folder of the pipeline")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()
    try:
        data = load_images([given.data / FILE], 32)
    except UserError as e:
        parser.error(str(e))
    begin = time.monotonic()
    pipeline, loss = train(data, given.steps, given.batch, given.learning_rate, given.seed, torch.device(given.device))
    seconds = round(time.monotonic() - begin, 1)
    pipeline.save_pretrained(given.out)
    told = {"steps": given.steps, "batch": given.batch, "learning_rate": given.learning_rate, "seed": given.seed}
    told |= {"seconds": seconds, "device": given.device, "loss": loss, "data_sha256": data.sha256}
    write_json(given.out / "training.json", told)
    print(f"{given.out}: {seconds} s, loss {loss:.4f}")


if __name__ == "__main__":
    main()
