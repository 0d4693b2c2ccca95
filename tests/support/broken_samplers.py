"""Samplers of a stranger, each with one defect, at the lines that end in its name; `Fine` has none."""

import time
from dataclasses import replace

import numpy as np
import torch

from samplers import Solver
from samplers.solvers.euler import DDIM, euler_step


def named(name, **more):
    return replace(DDIM.card, name=name, **more)


class Fine(Solver):
    card = named("fine")

    def step(self, walk, t):
        s, x, denoised = walk.points[-1]
        return euler_step(x, denoised, s, t)


class Shape(Fine):
    card = named("shape")

    def sample(self, denoiser, noise, **more):
        return super().sample(denoiser, noise, **more)[:1]


class Unchecked(Fine):
    card = named("unchecked")

    def sample(self, denoiser, noise, *, steps, labels=None, callback=None):
        return self.integrate(denoiser, noise, self.levels(denoiser, max(steps, 1)), labels=labels, callback=callback)


class Calls(Fine):
    card = named("calls", calls=lambda n: 2 * n)


class Remembers(Fine):
    card = named("remembers")
    before = 0.0

    def step(self, walk, t):
        x = super().step(walk, t) + self.before
        self.before = 0.01
        return x


class Batch(Fine):
    card = named("batch")

    def step(self, walk, t):
        x = super().step(walk, t)
        return x - 0.1 * x.mean(0, keepdim=True)


class Labels(Fine):
    card = named("labels")

    def sample(self, denoiser, noise, *, steps, labels=None, callback=None):
        return super().sample(denoiser, noise, steps=steps, callback=callback)


class Callback(Fine):
    card = named("callback")

    def sample(self, denoiser, noise, *, steps, labels=None, callback=None):
        return super().sample(denoiser, noise, steps=steps, labels=labels)


class Order(Fine):
    card = named("order", order=2)


class Wrong(Fine):
    card = named("wrong")

    def step(self, walk, t):
        return 0.999 * super().step(walk, t)


class Dtype(Fine):
    card = named("dtype")

    def sample(self, denoiser, noise, **more):
        return super().sample(denoiser, noise.float(), **more)


class Device(Fine):
    card = named("device")

    def step(self, walk, t):
        s, x, denoised = walk.points[-1]
        level = torch.tensor([t / s]).to(x)  # device
        return torch.lerp(denoised, x, level)


class Waits(Fine):
    card = named("waits")

    def step(self, walk, t):
        x = super().step(walk, t)
        return x if x.abs().max() < 1e6 else x / 2  # waits


class Writes(Fine):
    card = named("writes")

    def sample(self, denoiser, noise, *, steps, labels=None, callback=None):
        noise *= 1.0  # writes
        return super().sample(denoiser, noise, steps=steps, labels=labels, callback=callback)


class Draws(Fine):
    card = named("draws")

    def step(self, walk, t):
        x = super().step(walk, t)
        return x + 0 * torch.randn_like(x)  # draws


class Seeds(Fine):
    card = named("seeds", deterministic=False)

    def step(self, walk, t):
        x = super().step(walk, t)
        own = torch.manual_seed(0)
        return x + 0 * torch.randn(len(x), 1, 1, 1, generator=own).to(x)  # seeds


class Seeding(Fine):
    card = named("seeding")

    def step(self, walk, t):
        torch.manual_seed(0)
        return super().step(walk, t)


class Unsaid(Fine):
    card = named("unsaid")

    def step(self, walk, t):
        return super().step(walk, t) + 1e-6 * t * walk.fresh_noise(walk.done)  # unsaid


class Generates(Fine):
    card = named("generates")

    def step(self, walk, t):
        x = super().step(walk, t)
        return x + 0 * torch.randn(x.shape, dtype=x.dtype, device=x.device, generator=torch.Generator(x.device))  # generates


class Same(Fine):
    card = named("same", order=None)

    def sample(self, denoiser, noise, **more):
        return super().sample(denoiser, torch.ones_like(noise), **more)


class Later(Fine):
    card = named("later")

    def step(self, walk, t):
        x = super().step(walk, t)
        return x if walk.done == 0 else walk.points[-1].x.copy_(x)


class Graph(Fine):
    card = named("graph")

    def sample(self, denoiser, noise, **more):
        return super().sample(denoiser, noise, **more).requires_grad_()


class Numpy(Fine):
    card = named("numpy")

    def step(self, walk, t):
        return super().step(walk, t) + 0 * np.random.randn()


class Hides(Fine):
    card = named("hides")

    def step(self, walk, t):
        return super().step(walk, t).nan_to_num()


class Busy(Fine):
    card = named("busy")

    def step(self, walk, t):
        x = super().step(walk, t)
        for _ in range(120):
            x = x + 0
        return x


class Prints(Fine):
    card = named("prints")

    def step(self, walk, t):
        print("step", t)  # prints
        return super().step(walk, t)


class Hangs(Fine):
    card = named("hangs")

    def step(self, walk, t):
        while True:
            time.sleep(0.01)  # hangs


class Raises(Fine):
    card = named("raises")

    def step(self, walk, t):
        raise RuntimeError("out of\n memory")  # raises


class Exits(Fine):
    card = named("exits")

    def step(self, walk, t):
        raise SystemExit(3)
