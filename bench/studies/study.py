"""`bench campaign`: a whole study in slices of time, on machines that may be taken away.

Stages run in order, each until it is done, its seconds are used up (it then waits until the others are through) or the slice is
over. What is finished, and how far the rest is, is exported as parts that fit a narrow way home; another machine goes on from
those parts alone.
"""

import gc
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import torch

import bench
from bench.studies import parts as parcels
from bench.studies.parts import MIB, TABLE, Item, Parcel
from samplers.errors import UserError
from samplers.files import write_whole
from samplers.models.zoo import add_zoo
from samplers.time_limit import TimeUpError, stop_in_time, time_limit
from samplers.training.checkpoint import NAME, restore, slim
from samplers.training.recipe import DATA, check_value, load_recipe, sources_of

NEEDS: dict[str, tuple[str, ...]] = {
    "extractor": (),
    "teacher": (),
    "trajectories": ("teacher",),
    "dsno": ("trajectories",),
    "knowledge_distillation": ("trajectories",),
    "progressive": ("teacher",),
    "consistency": ("teacher",),
    "profile": ("dsno",),
    "run": ("extractor", "dsno", "knowledge_distillation", "progressive", "consistency"),
}
"""The stages in order, and which must be done before each."""
MEASURED = ("run", "profile")
"""Stages that train nothing."""
LEAST = {False: 0.15, True: 0.4}
"""Share of a slice that must be left to begin another stage in it: one that trains, one that measures."""
KEYS = ("plan", "rungs", "batch_sizes", "seconds")
PART, PARCEL, FILES = 16 * MIB, 64 * MIB, 8
"""The way home: bytes of a part, bytes of all that is written at once, and files, the table of contents among them."""
STATE, SLIM = "campaign.json", ".slim"


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
        trained = {s: () for s in NEEDS if s not in MEASURED}
        content = load_recipe(self.recipe, {**trained, "data": DATA, "teacher": ("name",), "campaign": KEYS})
        self.settings, self.teacher = content["campaign"], content["teacher"]["name"]
        _check(self.settings, f"{self.recipe}: campaign")
        bench.make_plan(self.settings["plan"])  # a mistake there would show at the very end
        for split in DATA:
            for path in sources_of(content["data"], split, self.data):
                if isinstance(path, Path) and not path.exists():
                    raise UserError(f"no data at {path}; name its folder with --data")
        self.held: set[str] = set()
        self.done: list[str] = []
        self.failed: dict[str, Exception] = {}
        self.spent = dict.fromkeys(NEEDS, 0.0)
        if (self.out / STATE).exists():
            self._take(json.loads((self.out / STATE).read_text()))

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
        self._take(table.get("campaign", {}))
        parcels.unpack(home, self.out)
        for path in self.out.rglob(f"*{SLIM}"):
            restore(path, path.with_name(path.name.removesuffix(SLIM)))
            path.unlink()
        self._keep()

    def _take(self, state: Mapping[str, Any]) -> None:
        if state.get("recipe") != self.stem:
            raise UserError(f"{self.out}: this campaign is of recipe '{state.get('recipe')}'; choose another --out or --from")
        self.done = list(state["done"])
        self.spent |= state["spent"]

    def _keep(self) -> None:
        state = {"recipe": self.stem, "done": self.done, "spent": {k: round(v, 3) for k, v in self.spent.items()}}
        write_whole(self.out / STATE, (json.dumps(state, indent=1) + "\n").encode())

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
        able = [s for s, needs in NEEDS.items() if s not in over and all(n in self.done for n in needs)]
        if "trajectories" in able and not self._wants_trajectories():
            able.remove("trajectories")
        return min(able, key=lambda s: self._left(s) <= 0, default=None)

    def _wants_trajectories(self) -> bool:
        """Whether a student that learns from them is still to be trained: they are too large to travel, and made again."""
        return any(s not in self.done for s, needs in NEEDS.items() if "trajectories" in needs)

    def _left(self, stage: str) -> float:
        return self.settings["seconds"][stage] - self.spent[stage]

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
        if stage in MEASURED and self.device.type == "cuda":
            torch._dynamo.reset()  # the networks and graphs of trainings before: their memory would be counted
            gc.collect()
            torch.cuda.empty_cache()
        if stage == "run":
            bench.run_plan(
                bench.make_plan(self.settings["plan"], device=str(self.device)), self.folder(stage), quiet=self.quiet
            )
        elif stage == "profile":
            self._profile()
        else:
            trainer = {e.name: e for e in entry_points(group="bench.trainers")}[stage].load()
            data = None if "trajectories" in (stage, *NEEDS[stage]) else self.data
            trainer(self.recipe, data, self.folder(stage), device=self.device, quiet=self.quiet)

    def _profile(self) -> None:
        """DSNO's pass in every mode that this device has."""
        from bench.instruments.modes import MODES
        from bench.profiling.page import write_profile
        from bench.profiling.profiler import Profiler, Setting

        modes = MODES if self.device.type == "cuda" else MODES[:1]
        for mode in (m for m in modes if not (self.folder("profile") / m / "profile.json").exists()):
            sizes = tuple(self.settings["batch_sizes"])
            if mode == "compile":  # each size is compiled for itself, three networks of it: the ends and the middle tell enough
                sizes = tuple(sorted({sizes[0], sizes[len(sizes) // 2], sizes[-1]}))
            profiler = Profiler(Setting(teacher=self.teacher, mode=mode, batch_sizes=sizes), self.device)
            write_profile(profiler.measure(), self.folder("profile") / mode)
            if mode != modes[-1]:
                stop_in_time()

    # ------------------------------------------------------------------ the way home

    def write(self) -> Path:
        """Export the finished stages, then how far the others are, as far as that fits; returns the table of contents.

        The table says what was left out: it goes with a later call, once that knows the parts written now to be at home.
        """
        assert self.export is not None
        travels, left_out = list(self.done), list[str]()
        finished = [i for s in travels for i in self._items(s)]
        begun = {s: items for s in NEEDS if s not in self.done and (items := self._items(s))}
        while not self._fits(parcel := parcels.pack([*finished, *(i for items in begun.values() for i in items)], PART)):
            if begun:
                stage = max(begun, key=lambda s: sum(i.source.stat().st_size for i in begun[s]))
                checkpoints = [i for i in begun[stage] if i.path.endswith(SLIM)]
                # Without its checkpoint a stage begins again, a ladder at its last rung; less than that is of no use.
                begun[stage] = [i for i in begun[stage] if i not in checkpoints]
                if not checkpoints:
                    del begun[stage]
                left_out += [i.path for i in checkpoints] or [stage]
            else:  # it goes when what is written now is at home
                left_out.append(travels.pop())
                finished = [i for s in travels for i in self._items(s)]
        if self._wants_trajectories():
            travels = [s for s in travels if s != "trajectories"]
        state = {"recipe": self.stem, "done": travels, "spent": {k: round(v, 3) for k, v in self.spent.items()}}
        stages = {s: "done" if s in self.done else "begun" if self.folder(s).exists() else "waiting" for s in NEEDS}
        failed = {s: " ".join(str(e).split()) for s, e in self.failed.items()}
        whole = self.next() is None and not failed
        told = {"finished": whole, "failed": failed, "stages": stages, "left_out": left_out, "campaign": state}
        return parcels.write(parcel, self.export, told, self.held)

    def _fits(self, parcel: Parcel) -> bool:
        written = [p for p in parcel.parts if p.sha256 not in self.held]
        return parcel.size(self.held) <= PARCEL and len(written) + 1 <= FILES

    def _items(self, stage: str) -> list[Item]:
        """The files of a stage that go home, if it has begun."""
        folder, finished = self.folder(stage), stage in self.done
        if stage == "trajectories" or (stage == "run" and not finished) or not folder.exists():
            return []  # too large, or of one machine's time
        found = [p for p in sorted(folder.rglob("*")) if p.is_file() and self._goes(stage, p)]
        rows = [p for p in found if p.name != NAME]
        if finished:
            return [self._item(p) for p in rows]
        done = self._rungs(stage)
        training = [p for p in found if p.name == NAME and p.parent.name not in done]
        for p in training:
            slim(p, p.with_name(NAME + SLIM))
        return [self._item(p) for p in (*rows, *(p.with_name(NAME + SLIM) for p in training))]

    def _item(self, path: Path) -> Item:
        return Item(path.relative_to(self.out).as_posix(), path)

    def _rungs(self, stage: str) -> list[str]:
        """Steps of a ladder's finished students, from its top down."""
        cards = self.folder(stage).glob("*.json") if stage == "progressive" else ()
        steps = (p.stem.rsplit("-", 1)[-1] for p in cards)
        return sorted((s for s in steps if s.isdecimal()), key=int, reverse=True)

    def _goes(self, stage: str, path: Path) -> bool:
        """Whether a file goes home: not what is made again in seconds, nor the weights of rungs that nobody asks for."""
        if path.name == "held_out.safetensors" or path.suffix in (".partial", SLIM):
            return False
        if stage == "profile":
            return (path.parent / "profile.json").exists()  # a mode that is whole
        if stage != "progressive" or path.suffix != ".safetensors" or path.name == NAME:
            return True
        wanted = {str(n) for n in self.settings["rungs"]} | set(self._rungs(stage)[-1:])
        return path.stem.rsplit("-", 1)[-1] in wanted


def _check(settings: Mapping[str, Any], where: str) -> None:
    """Refuse values of a wrong type in the recipe's section."""
    check_value(settings["plan"], str, f"{where}: plan")
    for key in ("rungs", "batch_sizes"):
        if not isinstance(settings[key], list):
            raise UserError(f"{where}: {key} is a list of whole numbers, as [1, 4], not {settings[key]!r}")
        for value in settings[key]:
            check_value(value, int, f"{where}: {key}", 1)
    seconds = settings["seconds"]
    if not isinstance(seconds, Mapping) or seconds.keys() != NEEDS.keys():
        raise UserError(f"{where}: seconds gives each of {', '.join(NEEDS)} its share of the time, as {{teacher: 600}}")
    for key, value in seconds.items():
        check_value(value, float, f"{where}: seconds: {key}", 0)
