"""What a checkpoint's network sees and what it predicts, as its card tells it: noise levels and the four coefficients of each.

EDM's names (arXiv 2206.00364, table 1). `edm`: EDM's own. `consistency`: the same with the boundary condition of consistency
models. `vp` and `ve`: ScoreSDE's networks. `iddpm` and `ddpm`: those of steps, with the table of improved DDPM as EDM writes it
or a table of betas.
"""

import math
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

from pydantic import Field, model_validator

from samplers.documents import Document
from samplers.errors import UserError, clipped, unknown
from samplers.models.scaling import Scaling, consistency, edm, log, time_of, ve, vp
from samplers.schedule import DiscreteVP, LinearBeta, Power, Schedule
from samplers.settings import Settings

FAR = 10.0
"""How many times as large as the one before it the last noise level of a table may be."""


ONE_CALL = "it is a consistency model, made to take noise to an image in one call, and not for a solver's steps"
"""What a reader has to know of one."""


class Process(NamedTuple):
    """A schedule, what the network's output means on it, and what a reader has to know of both."""

    schedule: Schedule
    scaling: Scaling
    note: str = ""


class Preconditioning(Settings):
    """What a card's section `preconditioning` is read as."""

    @abstractmethod
    def process(self) -> Process: ...


@dataclass(frozen=True)
class Geometric:
    """ScoreSDE's VE schedule, sigma(t) = sigma_min (sigma_max / sigma_min)^t, t in [0, 1] (arXiv 2011.13456, appendix C)."""

    sigma_min: float
    sigma_max: float

    def sigma(self, t: float) -> float:
        return self.sigma_min * (self.sigma_max / self.sigma_min) ** t

    def t(self, sigma: float) -> float:
        return math.log(sigma / self.sigma_min) / math.log(self.sigma_max / self.sigma_min)


class _Levels(Preconditioning):
    sigma_min: float = Field(0.002, gt=0)
    sigma_max: float = Field(80.0, le=1e9)

    @model_validator(mode="after")
    def _range(self) -> Self:
        if not self.sigma_min < self.sigma_max:
            raise ValueError(f"sigma_max must be above sigma_min, {self.sigma_min}, not {self.sigma_max}")
        return self


class EDM(_Levels):
    """EDM's: F is of unit variance; the network is told `time_factor` log sigma."""

    family: Literal["edm"] = "edm"
    sigma_data: float = Field(0.5, gt=0, le=1e6)
    time_factor: float = Field(0.25, gt=0, le=1e6)

    def process(self) -> Process:
        factor = self.time_factor
        return Process(Power(self.sigma_min, self.sigma_max), edm(self.sigma_data, lambda s: factor * log(s)))


class Consistency(_Levels):
    """A consistency model's: x0_hat is x at sigma_min."""

    family: Literal["consistency"] = "consistency"
    sigma_data: float = Field(0.5, gt=0, le=1e6)

    def process(self) -> Process:
        return Process(Power(self.sigma_min, self.sigma_max), consistency(self.sigma_min, self.sigma_data), ONE_CALL)


class VE(_Levels):
    """ScoreSDE's variance-exploding networks; they are told log(sigma / 2)."""

    family: Literal["ve"] = "ve"

    def process(self) -> Process:
        return Process(Geometric(self.sigma_min, self.sigma_max), ve())


class VP(Preconditioning):
    """ScoreSDE's variance-preserving networks, which predict noise; they are told (steps - 1) t."""

    family: Literal["vp"] = "vp"
    beta_d: float = Field(19.9, gt=0, le=1e4)
    beta_min: float = Field(0.1, gt=0, le=1e4)
    t_min: float = Field(1e-5, gt=0, lt=1)
    steps: int = Field(1000, ge=2, le=100_000)

    def process(self) -> Process:
        schedule = LinearBeta(self.beta_min, self.beta_min + self.beta_d, self.t_min)
        return Process(schedule, vp("eps", time_of(schedule, self.steps - 1)))


class IDDPM(Preconditioning):
    """Networks of improved DDPM, which predict noise, by EDM's noise levels u_j (table 1, "iDDPM")."""

    family: Literal["iddpm"] = "iddpm"
    c_1: float = Field(0.001, gt=0, lt=1)
    c_2: float = Field(0.008, gt=0, lt=1)
    steps: int = Field(1000, ge=2, le=100_000)

    def levels(self) -> list[float]:
        """u_0 > u_1 > ... > u_steps = 0."""
        kept = [math.sin(math.pi / 2 * j / self.steps / (self.c_2 + 1)) ** 2 for j in range(self.steps + 1)]
        u = [0.0]
        for j in range(self.steps, 0, -1):
            u.append(math.sqrt((u[-1] ** 2 + 1) / max(kept[j - 1] / kept[j], self.c_1) - 1))
        return u[::-1]

    def process(self) -> Process:
        return _of_steps(1 / (1 + u * u) for u in self.levels()[-2::-1])


class DDPM(Preconditioning):
    """Networks that predict noise, told the step, by betas: linear, or the cosine's (arXiv 2102.09672, equation 17)."""

    family: Literal["ddpm"] = "ddpm"
    betas: Literal["linear", "cosine"] = "linear"
    steps: int = Field(1000, ge=2, le=100_000)

    def kept(self) -> list[float]:
        """alphas_cumprod."""
        n, whole, found = self.steps, 1.0, []
        for i in range(n):
            if self.betas == "linear":
                beta = (1e-4 + (0.02 - 1e-4) * i / (n - 1)) * 1000 / n
            else:
                low, high = (math.cos((j / n + 0.008) / 1.008 * math.pi / 2) ** 2 for j in (i, i + 1))
                beta = min(1 - high / low, 0.999)
            whole *= 1 - beta
            found.append(whole)
        return found

    def process(self) -> Process:
        return _of_steps(self.kept())


FAMILIES: dict[str, type[Preconditioning]] = {
    "edm": EDM,
    "consistency": Consistency,
    "ve": VE,
    "vp": VP,
    "iddpm": IDDPM,
    "ddpm": DDPM,
}


def preconditioning_of(document: Document) -> Preconditioning:
    """What a card's section `preconditioning` says.

    Raises:
        UserError: an unknown family, or a value that does not fit.
    """
    section = document.section("preconditioning")
    family = section.values.get("family")
    if not isinstance(family, str) or family not in FAMILIES:
        told = unknown("family", clipped(family).strip("'"), FAMILIES)
        raise UserError(f"{document.origin}: preconditioning: {told}")
    return FAMILIES[family].of(section)


def _of_steps(kept: Iterable[float]) -> Process:
    """Of alphas_cumprod; a last level far above the one before it (the cosine's, 20291 after 642) is left out."""
    *most, last = kept
    cut, whole = DiscreteVP(most), DiscreteVP([*most, last])
    if whole.sigma_max > FAR * cut.sigma_max:
        return Process(cut, vp("eps", time_of(cut)), f"its last noise level, {whole.sigma_max:.0f}, is left out")
    return Process(whole, vp("eps", time_of(whole)))
