"""`bench.new` and `bench.verify`: for the author of a plug-in."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.commands.functions.arguments import File, Files
from bench.commands.options import add_plugins, add_zoos

if TYPE_CHECKING:
    from samplers.conformance.subject import Finding


def verify(
    sampler: Any,
    teacher: Any = "mnist32",
    *,
    plugin: Files = (),
    device: str = "cpu",
    seconds: float = 60.0,
    zoo: Files = (),
) -> "list[Finding]":
    """What each check finds of a sampler.

    Args:
        sampler: its name and options, as "mine:eta=0.5", or a class or an object.
        teacher: of a sampler with a student, by its name or itself; solvers are checked on exact data.
        plugin: files of samplers to use without installing them.
        device: auto, cpu, cuda or cuda:N.
        seconds: that a check may take.
        zoo: folders of trainings whose cards count as shipped.

    Raises:
        samplers.UserError: a sampler that cannot be made, or takes no steps here; no such file, teacher or device.
    """
    import samplers
    from bench.machine.device import resolve_device
    from bench.runs.objects import named
    from samplers.conformance.verify import verify

    add_zoos(zoo)
    add_plugins(plugin)
    at = resolve_device(device)
    with named({"sampler": sampler, "teacher": teacher}) as told:
        trained = samplers.get(told["sampler"]).card.training
        of = samplers.load_teacher(told["teacher"], device=at) if trained else None
        return verify(told["sampler"], of, device=at, seconds=seconds)


def new(what: str, name: str, *, out: File = ".") -> "list[Path]":
    """Write a package that installs, runs, is verified and has its test; returns its files.

    Args:
        what: sampler or student.
        name: of what it adds, of its module and its folder.
        out: where its folder is made.

    Raises:
        samplers.UserError: another kind, a name that cannot be or is taken, a folder that is there.
    """
    from bench.commands.making import write_package

    return write_package(what, name, Path(out))
