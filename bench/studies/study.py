"""`bench campaign`: a whole study in slices of time, on machines that may be taken away.

Stages run in order, each until it is done, its seconds are used up (it then waits until the others are through) or the slice is
over. What is finished, and how far the rest is, is exported as parts that fit a narrow way home; another machine goes on from
those parts alone.
"""

import gc
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.runs.plan import make_plan, read_plan
from bench.runs.run import run_plan
from bench.runs.tuning import tune
from bench.runs.tuning_settings import TuningSettings
from bench.studies import parts as parcels
from bench.studies.export import SLIM, items_of, load
from bench.studies.parts import TABLE, Item
from bench.studies.stages import MEASURED, State, StudyRecipe, needs_of, read_state, trainer_of
from samplers.documents import Document
from samplers.errors import UserError, one_line
from samplers.files import write_whole
from samplers.models.zoo import add_zoo
from samplers.time_limit import TimeUpError, stop_in_time, time_limit
from samplers.training.checkpoint import restore
from samplers.training.recipe import DataSettings, read_recipe, sources_of

LEAST = {False: 0.15, True: 0.4}
"""Share of a slice that must be left to begin another stage in it: one that trains, one that measures."""
STATE = "campaign.json"


@dataclass
class Campaign:
    """A study's work, in a folder. Checks what can be wrong before anything is trained.

    Args:
        recipe: a shipped recipe's name or a YAML file, with a section `campaign`.
        data: folder of the recipe's data files.
        out: folder of the work: `training/`, `run/`, `profile/`, and `campaign.json`, which tells what is done.
        device: where to work.
        export: folder of the parts that go home, with their table of contents; OUT/export by default.
        quiet: no progress bars.

    Raises:
        UserError: a recipe, plan or data that are not there or not whole, or a folder of another recipe's campaign.
    """

    recipe: str | Path
    data: Path
    out: Path
    device: torch.device
    export: Path | None = None
    quiet: bool = False

    def __post_init__(self) -> None:
        self.export = self.export or self.out / "export"
        recipe = read_recipe(self.recipe)
        self.needs = needs_of(recipe)
        self.settings = StudyRecipe.of(recipe.section("campaign"))
        for stage in self.needs:
            if stage not in MEASURED:
                trainer_of(stage).check(recipe)
        # A mistake there would show at the very end.
        self.teacher = (read_plan if "tune" in self.needs else make_plan)(self.settings.plan).teacher
        data = DataSettings.of(recipe.section("data"))
        for path in (*sources_of(data, "train", self.data), *sources_of(data, "held_out", self.data)):
            if isinstance(path, Path) and not path.exists():
                raise UserError(f"no data at {path}; name its folder with --data")
        self.held: set[str] = set()
        self.done: list[str] = []
        self.failed: dict[str, Exception] = {}
        self.spent = dict.fromkeys(self.needs, 0.0)
        if (self.out / STATE).exists():
            self._take(read_state(self.out / STATE))

    @property
    def stem(self) -> str:
        """The recipe's name."""
        return Path(self.recipe).stem

    def start_from(self, home: Path) -> None:
        """Go on from the parts that an earlier call exported, unless this folder is further; those parts are not written again.

        Raises:
            UserError: parts missing or damaged, or of another recipe.
        """
        if not (home / TABLE).exists():
            return  # nothing came home yet
        table = parcels.read_table(home)
        self.held = {p["sha256"] for p in table["parts"] if (home / p["file"]).exists()}
        if (self.out / STATE).exists():
            return
        self._take(State.of(Document(table.get("campaign") or {}, str(home / TABLE))))
        parcels.unpack(home, self.out)
        for path in self.out.rglob(f"*{SLIM}"):
            restore(path, path.with_name(path.name.removesuffix(SLIM)))
            path.unlink()
        self._keep()

    def _take(self, state: State) -> None:
        if state.recipe != self.stem:
            raise UserError(f"{self.out}: this campaign is of recipe '{state.recipe}'; choose another --out or --from")
        self.done = [s for s in state.done if s in self.needs]
        self.spent |= {s: spent for s, spent in state.spent.items() if s in self.needs}

    def _keep(self) -> None:
        write_whole(self.out / STATE, (json.dumps(self._state(self.done), indent=1) + "\n").encode())

    def _state(self, done: list[str]) -> dict[str, Any]:
        return {"recipe": self.stem, "done": done, "spent": {k: round(v, 3) for k, v in self.spent.items()}}

    # ------------------------------------------------------------------ work

    def run(self, seconds: float) -> bool:
        """Work for about so many seconds; returns whether everything is done. Calling it again goes on.

        Raises:
            Exception: the first that a stage raised, after those that do not need it had their turn, and the export.
        """
        worked, end = False, time.monotonic() + seconds
        (self.out / "training").mkdir(parents=True, exist_ok=True)
        add_zoo(self.out / "training")
        try:
            while (stage := self.next()) is not None:
                if worked and end - time.monotonic() < LEAST[stage in MEASURED] * seconds:
                    break  # loading and compiling would take what is left
                worked = True
                self._work(stage, end)
                if stage in self.done:
                    self.write()
                if time.monotonic() >= end:
                    break
        finally:
            self.write()
        for e in self.failed.values():
            raise e
        return self.next() is None

    def next(self) -> str | None:
        """The stage whose turn it is: the first that can begin, those with seconds left before others; None at the end."""
        over = {*self.done, *self.failed}
        able = [s for s, needs in self.needs.items() if s not in over and all(n in self.done for n in needs)]
        able = [s for s in able if s not in self.settings.remade or self._is_wanted(s)]
        return min(able, key=lambda s: self._left(s) <= 0, default=None)

    def _is_wanted(self, stage: str) -> bool:
        """Whether one that needs this stage is still to be done: where it is too large to travel, it is made again for it."""
        return any(s not in self.done for s, needs in self.needs.items() if stage in needs)

    def _left(self, stage: str) -> float:
        return self.settings.seconds[stage] - self.spent[stage]

    def _work(self, stage: str, end: float) -> None:
        """Do a stage until it is done or its time is up, and keep what it took."""
        begin = time.monotonic()
        left = self._left(stage)
        try:
            with time_limit(min(end - begin, left) if left > 0 else end - begin):
                self._do(stage)
            self.done.append(stage)
        except TimeUpError:
            pass
        except Exception as e:  # told at the end: the minutes go to what does not need this stage
            self.failed[stage] = e
        finally:
            self.spent[stage] += time.monotonic() - begin
            self._keep()

    def folder(self, stage: str) -> Path:
        """Where a stage works."""
        return self.out / stage if stage in MEASURED else self.out / "training" / f"{self.stem}-{stage}"

    def _do(self, stage: str) -> None:
        torch._dynamo.reset()  # the networks and graphs of trainings before: their memory and number count
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        plan, device = self.settings.plan, str(self.device)
        if stage == "tune":
            tune(TuningSettings(), read_plan(plan, device=device), self.folder(stage), quiet=self.quiet)
        elif stage == "run":
            tuned = self.folder("tune") / "tuned.yaml" if "tune" in self.needs else None
            run_plan(make_plan(plan, tuned=tuned, device=device), self.folder(stage), quiet=self.quiet)
        elif stage == "profile":
            self._profile()
        else:  # what learns from something made again on each machine finds it beside its own folder
            data = None if {stage, *self.needs[stage]} & {*self.settings.remade} else self.data
            trainer_of(stage).train(self.recipe, data, self.folder(stage), device=self.device, quiet=self.quiet)

    def _profile(self) -> None:
        """The profile in every mode that this device has."""
        from bench.instruments.choices import MODES
        from bench.profiling.page import write_profile
        from bench.profiling.profiler import Profiler
        from bench.profiling.settings import ProfileSettings

        modes = MODES if self.device.type == "cuda" else MODES[:1]
        for mode in (m for m in modes if not (self.folder("profile") / m / "profile.json").exists()):
            sizes = self.settings.batch_sizes
            if mode == "compile":  # each size is compiled for itself, three networks of it: the ends and the middle tell enough
                sizes = tuple(sorted({sizes[0], sizes[len(sizes) // 2], sizes[-1]}))
            profiler = Profiler(ProfileSettings(teacher=self.teacher, mode=mode, batch_sizes=sizes), self.device)
            write_profile(profiler.measure(), self.folder("profile") / mode)
            if mode != modes[-1]:
                stop_in_time()

    # ------------------------------------------------------------------ the way home

    def write(self) -> Path:
        """Export the finished stages, then how far the others are, as far as that fits; returns the table of contents.

        The table says what was left out: it goes with a later call, once that knows the parts written now to be at home.
        """
        assert self.export is not None
        begun = {s: items for s in self.needs if s not in self.done and (items := self._items(s))}
        going = load({s: self._items(s) for s in self.done}, begun, self.held)
        done = [s for s in going.travels if s not in self.settings.remade or not self._is_wanted(s)]
        stages = {s: "done" if s in self.done else "begun" if self.folder(s).exists() else "waiting" for s in self.needs}
        failed = {s: one_line(e, 1000) for s, e in self.failed.items()}
        told: dict[str, Any] = {"finished": self.next() is None and not failed, "failed": failed, "stages": stages}
        told |= {"left_out": going.left_out, "campaign": self._state(done)}
        return parcels.write(going.parcel, self.export, told, self.held)

    def _items(self, stage: str) -> list[Item]:
        """The files of a stage that go home, if it has begun."""
        folder, finished = self.folder(stage), stage in self.done
        if stage in self.settings.remade or (stage in ("tune", "run") and not finished) or not folder.exists():
            return []  # too large, or of one machine's time
        found = items_of(self.out, folder, finished, self.settings.rungs)
        if stage != "profile":
            return found
        return [i for i in found if (i.source.parent / "profile.json").exists()]  # of modes that are whole
