"""A store of model repositories, which keeps every tensor once."""

from __future__ import annotations

import os
import warnings
from typing import Any, NamedTuple, Union

from . import _at1w
from ._convert import Progress, _callback
from ._errors import IncompleteWarning
from ._frameworks import check_packed
from ._frameworks import framework as framework_of
from ._open import _Open

_Path = Union[str, "os.PathLike[str]"]


class Repo(NamedTuple):
    """A repository of a store."""

    #: ``NS/NAME``.
    name: str
    #: The last commit of its main branch.
    commit: str
    #: The number of files in it.
    files: int
    #: The size of the originals in bytes.
    bytes: int


class Differences(NamedTuple):
    """What is different between two revisions: names of tensors, and paths of other files."""

    added: list[str]
    removed: list[str]
    changed: list[str]
    #: The number of those that are the same.
    same: int


class StoredFile(_Open):
    """An open file of weights of a store: read like a ``safe_open``, from where it is stored."""


class Store:
    """A store of model repositories.

    url: a path, or ``s3://``, ``gs://`` or ``az://``. A push to an absent or empty place makes the
    store. Revisions are branches, tags or commits; the branch ``main`` where none is named.

    Raises OSErrors where the store cannot be reached, FileNotFoundError where a repository or a
    revision is not there, IntegrityError where something is damaged, and ValueError for names that
    are none.
    """

    def __init__(self, url: _Path) -> None:
        self._store = _at1w.Store(os.fspath(url))

    @property
    def url(self) -> str:
        """The address of the store."""
        return self._store.url

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    def push(
        self,
        source: _Path,
        repo: str,
        *,
        branch: str = "main",
        message: str = "",
        parent: str | None = None,
        delete: bool = False,
        level: str = "default",
        bases: bool = True,
        progress: Progress = False,
    ) -> dict[str, Any]:
        """Pushes a file or a directory as one commit of ``NS/NAME``.

        Files are added or replaced, others stay; with delete the branch becomes what the source
        is. parent: the revision that the push is made for. A file that others have changed since is
        not replaced: RuntimeError. bases: whether tensors are stored as differences to those of
        the revision before, or of the models that the card names as base_model, where that takes
        less. Returns the commit, and how much was new.
        """
        with _callback(progress, "push") as callback:
            pushed = self._store.push(
                source, repo, branch, message, parent, delete, level, bases, callback
            )
        for path, number in pushed["bases_lost"]:
            problem = f"{number} tensors are stored by themselves, for their bases are damaged"
            warnings.warn(f"{path}: {problem}: scrub the store", IncompleteWarning, stacklevel=2)
        for path, problem in pushed["faults"]:
            warnings.warn(f"{path}: stored as it is: {problem}", IncompleteWarning, stacklevel=2)
        return pushed

    def pull(
        self,
        repo: str,
        target: _Path,
        revision: str | None = None,
        *,
        packed: bool = False,
        root: str | None = None,
        progress: Progress = False,
    ) -> str:
        """Writes the files of a revision into a directory; returns the commit.

        Files that are there already and are right stay. packed: lays them down packed. root: the
        SHA-256 that the tree must have, or the root of its one packed file.
        """
        with _callback(progress, "pull") as callback:
            return self._store.pull(repo, target, revision, packed, root, callback)

    def open(
        self,
        repo: str,
        path: str,
        revision: str | None = None,
        *,
        framework: str = "np",
        device: Any = "cpu",
    ) -> StoredFile:
        """Opens a file of weights of a revision; only what is read of it is fetched."""
        file = self._store.file(repo, path, revision)
        if file.root is not None:
            check_packed(framework, path)
        return StoredFile(file, framework_of(framework, device))

    def repos(self, namespace: str | None = None) -> list[Repo]:
        """Lists the repositories of the store, or of a namespace."""
        return [Repo(*repo) for repo in self._store.repos(namespace)]

    def log(self, repo: str, revision: str | None = None) -> list[dict[str, Any]]:
        """Lists the commits that lead to a revision, the last one first."""
        return self._store.log(repo, revision)

    def diff(self, repo: str, old: str, new: str, *, other: str | None = None) -> Differences:
        """Compares two revisions by tensor; the new one may be of another repository."""
        before = dict(self._store.tensors(repo, old))
        after = dict(self._store.tensors(other or repo, new))
        both = before.keys() & after.keys()
        changed = sorted(name for name in both if before[name] != after[name])
        return Differences(
            added=sorted(after.keys() - before.keys()),
            removed=sorted(before.keys() - after.keys()),
            changed=changed,
            same=len(both) - len(changed),
        )

    def scrub(self, repo: str | None = None, *, progress: Progress = False) -> list[str]:
        """Reads and proves every byte in use; returns what is damaged, with the revisions."""
        with _callback(progress, "scrub") as callback:
            _, damaged = self._store.scrub(repo, callback)
        return [f"{problem}: {', '.join(revisions)}" for problem, revisions in damaged]

    def repack(
        self, repo: str, *, level: str = "max", bases: bool = False, progress: Progress = False
    ) -> tuple[int, int]:
        """Stores a repository at another level; returns its bytes before and after.

        bases: leaves tensors at their level, and stores those of later revisions as differences.
        """
        with _callback(progress, "repack") as callback:
            return self._store.repack(repo, level, bases, callback)
