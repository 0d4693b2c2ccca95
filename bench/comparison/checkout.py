"""Two revisions of the packages under test side by side in one process.

A revision is exported to a folder of its own (`export`), and its packages are imported from there (`Packages`) under their
own names, one revision at a time in `sys.modules`. The harness, `bench`, is the running one for both.
"""

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import invalidate_caches
from importlib.metadata import distributions
from io import BytesIO
from pathlib import Path
from types import ModuleType

from samplers.errors import UserError, one_line
from samplers.registry import GROUP, canonical

HARNESS = __name__.partition(".")[0]
WORKING_TREE = "working tree"


@dataclass(frozen=True)
class Revision:
    """A state of the source tree, exported.

    Attributes:
        name: as it was asked for.
        commit: its hash; that of HEAD with "+" for a working tree with uncommitted changes.
        root: folder that holds its packages.
    """

    name: str
    commit: str
    root: Path

    @property
    def own(self) -> set[str]:
        """Names of the samplers that its packages register; what else is installed here is of neither revision."""
        return {e.name for d in distributions(path=[str(self.root)]) for e in d.entry_points if e.group == GROUP}

    @property
    def tree(self) -> str:
        """A hash of all that it imports and registers: the files of its packages, and its entry points."""
        found = hashlib.sha256()
        for path in sorted(p for p in self.root.rglob("*") if p.is_file() and p.suffix != ".pyc" and p.parent != self.root):
            found.update(
                f"{path.relative_to(self.root).as_posix()}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode()
            )
        return found.hexdigest()


def repository(start: Path | None = None) -> Path:
    """The top of the git checkout that holds `start` (the current folder).

    Raises:
        UserError: git is not installed, or this is no checkout.
    """
    return Path(_git(start or Path.cwd(), "rev-parse", "--show-toplevel").decode().strip())


def state(repo: Path) -> str:
    """The commit of a checkout, with "+" where tracked files have changes.

    Raises:
        UserError: there is no commit yet.
    """
    head = _git(repo, "rev-parse", "HEAD").decode().strip()
    return head + ("+" if _git(repo, "status", "--porcelain", "--untracked-files=no").strip() else "")


def project_here() -> str:
    """The name of the project whose checkout the current folder is in, as package indexes spell it; "" where there is none."""
    try:
        project = tomllib.loads((repository() / "pyproject.toml").read_text())["project"]["name"]
    except (UserError, OSError, ValueError, LookupError, TypeError):
        return ""
    return canonical(str(project))


def is_revision(name: str, repo: Path) -> bool:
    """Whether git knows a commit by this name."""
    try:
        _git(repo, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    except UserError:
        return False
    return True


def export(name: str, repo: Path, folder: Path) -> Revision:
    """Write a revision (or WORKING_TREE: tracked and untracked files as they are now) to a folder of its own below `folder`.

    Raises:
        UserError: no such revision, or one without the packages.
    """
    head = _git(repo, "rev-parse", "HEAD").decode().strip() if is_revision("HEAD", repo) else "none"
    if name == WORKING_TREE:
        files = _git(repo, "ls-files", "-z", "--cached", "--others", "--exclude-standard").decode().split("\0")
        project = repo / "pyproject.toml"
        wanted = _wanted(project.read_text() if project.exists() else "", {f.partition("/")[0] for f in files}, name)
        dirty = bool(_git(repo, "status", "--porcelain", "--", *wanted).strip())
        commit, root = head + ("+" if dirty else ""), folder / "working-tree"
        for file in sorted({f for f in files if f.partition("/")[0] in wanted}):
            if (repo / file).is_file():  # one deleted in the working tree is still in the index
                (root / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(repo / file, root / file)
    else:
        if not is_revision(name, repo):
            raise UserError(f"'{name}' is no revision of this checkout; see 'git log --oneline'")
        commit = _git(repo, "rev-parse", f"{name}^{{commit}}").decode().strip()
        root = folder / commit[:16]
        there = _git(repo, "ls-tree", "-z", "--name-only", commit).decode().split("\0")
        text = _git(repo, "show", f"{commit}:pyproject.toml").decode(errors="replace") if "pyproject.toml" in there else ""
        with tarfile.open(fileobj=BytesIO(_git(repo, "archive", commit, *_wanted(text, there, name)))) as tar:
            tar.extractall(root, filter="data")
    if not (root / "samplers" / "__init__.py").exists():
        raise UserError(f"revision '{name}' has no package samplers; compare with a later one")
    write_entry_points(root, name)
    return Revision(name, commit, root)


def _wanted(project: str, there: Iterable[str], name: str) -> list[str]:
    """What to export of the top-level names of a revision: pyproject.toml, and the packages that it includes but the harness.

    Raises:
        UserError: no pyproject.toml, or one that is not TOML.
    """
    try:
        found = tomllib.loads(project).get("tool", {}).get("setuptools", {}).get("packages", {}).get("find", {})
        patterns = [str(p) for p in found.get("include", ["*"])]
    except (tomllib.TOMLDecodeError, AttributeError, TypeError) as e:
        raise UserError(f"revision '{name}': its pyproject.toml cannot be read ({one_line(e)}); compare with another") from e
    if not project:
        raise UserError(f"revision '{name}' has no package samplers; compare with a later one")
    packages = {n for n in there if n and n != HARNESS and any(fnmatchcase(n, p) for p in patterns)}
    return sorted(packages | {"pyproject.toml"})


def write_entry_points(root: Path, name: str) -> None:
    """Metadata as an installation would write it, so that the revision's own samplers are found and no others of ours."""
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    except (tomllib.TOMLDecodeError, KeyError) as e:
        raise UserError(f"revision '{name}': its pyproject.toml cannot be read ({e}); compare with another") from e
    info = root / f"{project['name'].replace('-', '_')}-0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0\n")
    groups = project.get("entry-points", {})
    lines = [line for g, found in groups.items() for line in (f"[{g}]", *(f"{k} = {v}" for k, v in found.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


class Packages:
    """The packages of one exported revision, importable inside `active()`.

    What is imported there stays loaded for the next time; the packages of the same names that were loaded before are put back
    at the end, so two revisions and the harness's own never mix.
    """

    def __init__(self, revision: Revision):
        self.revision = revision
        self._names = {init.parent.name for init in revision.root.glob("*/__init__.py")}
        self._modules: dict[str, ModuleType] = {}

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make `import samplers` mean this revision's.

        Raises:
            UserError: its code cannot be imported, or raises its own UserError.
        """
        others = self._take()
        sys.modules.update(self._modules)
        sys.path.insert(0, str(self.revision.root))
        invalidate_caches()
        try:
            yield
        except UserError:
            raise
        except Exception as e:
            if type(e).__name__ == UserError.__name__:  # this revision's class of that name
                raise UserError(str(e)) from e
            if not isinstance(e, ImportError | SyntaxError):
                raise
            raise UserError(f"revision '{self.revision.name}' does not import here: {one_line(e)}") from e
        finally:
            self._modules = self._take()
            sys.modules.update(others)
            sys.path.remove(str(self.revision.root))
            invalidate_caches()

    def _take(self) -> dict[str, ModuleType]:
        """Remove the packages under test from `sys.modules`; returns them."""
        return {n: sys.modules.pop(n) for n in list(sys.modules) if n.partition(".")[0] in self._names}


@contextmanager
def exported(names: tuple[str, str], repo: Path) -> Iterator[tuple[Revision, Revision]]:
    """Both revisions in a temporary folder, gone afterwards. The same revision twice is exported twice."""
    with tempfile.TemporaryDirectory(prefix="bench-revisions-") as folder:
        sides = [export(name, repo, Path(folder) / side) for name, side in zip(names, "ab", strict=True)]
        yield sides[0], sides[1]


def _git(where: Path, *words: str) -> bytes:
    try:
        return subprocess.run(["git", "-C", str(where), *words], capture_output=True, check=True).stdout
    except FileNotFoundError as e:
        raise UserError("git is not installed; comparing revisions needs it") from e
    except subprocess.CalledProcessError as e:
        told = e.stderr.decode(errors="replace").strip().splitlines()
        raise UserError(f"git {words[0]} failed: {told[-1] if told else f'exit code {e.returncode}'}") from e
