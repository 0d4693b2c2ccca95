"""What a comparison is asked for."""

from pydantic import Field

from samplers.settings import Settings, Share, SpecText


class ComparisonSettings(Settings):
    """What to compare of two revisions, and how hard to look; of runs and speed results only the effect counts."""

    effect: Share = Field(0.05, gt=0, lt=1, description="relative slowdown (or loss of quality) that must be found, as 5%")
    samplers: tuple[SpecText, ...] = Field(
        ("all",), min_length=1, description="specs, as heun:grid=logsnr or ddim@50; all: those of either side"
    )
    calls: int = Field(6, ge=1, le=10_000, description="budget of network calls of a pass")
    teacher: str = Field("mnist32", description="name in the first side's zoo, or path of a card (.json)")
    budget: float = Field(180.0, gt=0, le=1e9, description="seconds for everything, starting the processes included")
    threads: int = Field(1, ge=1, le=4096, description="CPU threads; one is the quietest")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    time: bool = Field(True, description="time too, or only count")
