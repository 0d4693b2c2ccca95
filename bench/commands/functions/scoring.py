"""`bench.score`."""

from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.commands.functions.arguments import File, Files
from bench.commands.options import add_zoos

if TYPE_CHECKING:
    from bench.presentation.document import Document
    from bench.quality.elsewhere import Scored


def score(images: File, *, out: File | None = None, zoo: Files = (), quiet: bool = False, **options: Any) -> "Scored":
    """Score images that were made elsewhere; returns them, their reference, and `quality`, the scores as a record has them.

    Args:
        images: a folder, zip or npz of images, or a data set of torchvision, as cifar10-test.
        out: file that gets the scores, as JSON.
        zoo: folders of trainings whose cards count as shipped.
        quiet: no progress.
        **options: fields of `bench.quality.settings.ScoreSettings`.

    Raises:
        samplers.UserError: images, extractor, reference or metrics that are not there or do not fit each other.
    """
    from bench.machine.device import prepare_process, resolve_device
    from bench.quality.elsewhere import score_images
    from bench.quality.settings import ScoreSettings
    from bench.runs.progress import Display
    from samplers.files import write_json

    add_zoos(zoo)
    settings = ScoreSettings(**options)
    device = resolve_device(settings.device)
    prepare_process(device)
    with Display(quiet, transient=True) as display:
        found = score_images(str(images), settings, device, display.now)
    if out is not None:
        write_json(Path(out), found.plain())
    return found


def page(found: "Scored") -> "Document":
    """The scores, and all that they hang on, to read."""
    from bench.presentation.document import Paragraph, Table, cell
    from bench.presentation.text import interval, num
    from bench.records.caveats import few
    from bench.records.scores import Score

    scores = {name: Score.model_validate(entry) for name, entry in found.quality.items()}
    rows = []
    for name, s in scores.items():
        low, high = (nan if v is None else v for v in (s.ci_low, s.ci_high))
        rows.append([cell(name), cell(interval(s.value, low, high)), cell(s.n)])
    first, real = next(iter(scores.values())), found.reference
    told = {
        "images": f"{found.images.name}, {found.images.n:,} of {list(found.images.shape)}",
        "extractor": f"SHA-256 {first.extractor_sha256}",
        "resize": first.resize,
        "rounding": first.rounding,
        "reference": real.name,
        "reference images": "" if real.images is None else f"{real.images:,}",
        "reference's SHA-256": real.sha256,
        "took": f"{num(sum(found.seconds.values()))} s: {', '.join(f'{k} {num(s)}' for k, s in found.seconds.items())}",
    }
    return [
        Table(["score", "value [95 %]", "images"], rows, right=(1, 2)),
        Table(["what", "value"], [[cell(k), cell(v)] for k, v in told.items() if v]),
        *(Paragraph(line) for line in few(scores)),
    ]
