"""What `bench compare` and `bench gate` are given: two run folders, two files of speed results, or two git revisions."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.comparison.checkout import WORKING_TREE, is_revision, repository
from bench.comparison.revisions import compare_revisions
from bench.comparison.runs import compare_runs
from bench.comparison.settings import ComparisonSettings
from bench.comparison.verdicts import Outcome, Row
from samplers.errors import UserError
from samplers.files import write_json


def compare(
    a: str,
    b: str,
    settings: ComparisonSettings,
    out: Path,
    advance: Callable[[str], None] = lambda _: None,
    given: Sequence[str] = (),
) -> Outcome:
    """Compare two things of a kind; `out` gets `comparison.json` with all that was measured, and of runs `comparison.html`.

    Args:
        a: folder of a run, JSON file of pytest-benchmark, or a git revision.
        b: another of the same kind; for a revision also "working tree".
        settings: of a comparison of revisions; of the other kinds only the effect counts.
        out: folder.
        advance: told what goes on.
        given: flags of the command line that only revisions have a use for.

    Raises:
        UserError: neither, or two of different kinds, or what each kind refuses.
    """
    kinds = [_kind(x) for x in (a, b)]
    if kinds[0] != kinds[1]:
        raise UserError(f"'{a}' is a {kinds[0]} and '{b}' a {kinds[1]}; compare two of a kind")
    if kinds[0] == "revision":
        outcome = compare_revisions((a, b), repository(), settings, out, advance)
    elif given:
        raise UserError(f"{', '.join(given)}: only revisions are run again; leave that out for a {kinds[0]}")
    else:
        both = compare_runs if kinds[0] == "run" else _speed_files
        outcome = both(Path(a), Path(b), settings.effect)
    keep(outcome, out)
    if kinds[0] == "run":
        from bench.comparison.page import write_page  # here, for it takes a report's modules

        write_page(outcome, Path(a), Path(b), out)
    return outcome


def keep(outcome: Outcome, out: Path) -> None:
    """Write `comparison.json` in a folder."""
    write_json(out / "comparison.json", outcome.data | {"rows": [asdict(r) for r in outcome.rows]}, indent=None)


def _kind(name: str) -> str:
    """What git knows is a revision; a folder with records is a run, and a JSON file holds speed results.

    Raises:
        UserError: a path, but of none of these.
    """
    path = Path(name)
    if name == WORKING_TREE or is_revision(name, Path.cwd()):
        return "revision"
    if (path / "records.jsonl").exists():
        return "run"
    if path.suffix == ".json" and path.is_file():
        return "file of speed results"
    if path.is_dir():
        raise UserError(f"no records.jsonl in {name}; name a folder that 'bench run' made")
    return "revision"


def _speed_files(a: Path, b: Path, effect: float) -> Outcome:
    from bench.comparison import pytest_benchmark

    try:
        rows = pytest_benchmark.compare_speeds(pytest_benchmark.read(a), pytest_benchmark.read(b), effect)
    except pytest_benchmark.NotComparableError as e:
        rows = [Row("every benchmark", "time", "", "", "not comparable", str(e))]
    return Outcome((str(a), str(b)), rows, {"schema": 1, "files": [str(a), str(b)], "effect": effect})
