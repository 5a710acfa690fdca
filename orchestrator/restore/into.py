"""Restore into a folder that is not empty: files are overwritten, extra ones may be removed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from leitstand.errors import UsageError
from orchestrator.repository.snapshot import Snapshot
from orchestrator.restore.extra import Extra, Known, find_extra, has_mark, mark, remove_extra
from orchestrator.restore.owners import Owners
from orchestrator.restore.restore import Restored, RestoreError, Restoring, restore, strangers
from orchestrator.restore.tree import Tree
from orchestrator.sources.patterns import Selection


@dataclass(frozen=True)
class Existing:
    """The user's permissions for a target that is not empty."""

    overwrite: bool = False
    delete_extra: bool = False

    def check(self, snapshot: Snapshot, target: Path, selection: Selection) -> bool:
        """Whether this is a restore into something existing. Raises UsageError where that would do harm."""
        if self.delete_extra and not selection.all:
            raise UsageError(
                "--delete-extra cannot be combined with patterns", "leave out the patterns and --exclude"
            )
        if not (self.overwrite or self.delete_extra) or not strangers(target, snapshot.name.id):
            return False
        if target.is_symlink() or not target.is_dir():
            raise UsageError(f"{target} is not a folder", "name the folder itself, not a link to it")
        if self.delete_extra:
            self._check_it_is_a_restore(snapshot, target)
        return True

    def _check_it_is_a_restore(self, snapshot: Snapshot, target: Path) -> None:
        job = snapshot.name.job
        if not self.overwrite and not has_mark(target, job):
            raise UsageError(
                f"{target} was not made by a restore of {job}",
                "check with --into-existing --dry-run what would be removed; then leave out --dry-run",
            )
        tops = Known(snapshot.manifest).tops
        if not any(os.fsencode(path.name) in tops for path in target.iterdir()):
            raise UsageError(
                f"nothing in {target} came from {job}; --delete-extra would remove everything",
                "check --target",
            )


def restore_to(
    snapshot: Snapshot,
    target: Path,
    selection: Selection,
    owners: Owners,
    live: Restored,
    existing: Existing = Existing(),
    *,
    refuse_outside: bool = False,
) -> Restored:
    """Restore a snapshot, or what is selected of it. Raises UsageError, RestoreError."""
    target = target.absolute()
    if existing.check(snapshot, target, selection):
        with _errors(target), Tree(target, owners, exact=True) as tree:
            restoring = Restoring(snapshot, selection, tree, live, refuse_outside)
            _restore_into(restoring, target, existing.delete_extra)
    else:
        restore(snapshot, target, selection, owners, live, refuse_outside=refuse_outside)
    if selection.all:
        mark(target, snapshot.name.job)
    return live


def extra_in(snapshot: Snapshot, target: Path, notes: list[str]) -> list[Extra]:
    """The paths that ``delete_extra`` would remove; ``notes`` gets those that stay. Raises RestoreError."""
    with _errors(target.absolute()):
        found = list(find_extra(target.absolute(), Known(snapshot.manifest)))
    notes += [
        f"{os.fsdecode(extra.path)}: the run could not read it; it is left as it is"
        for extra in found
        if extra.lacked
    ]
    return [extra for extra in found if not extra.lacked]


def _restore_into(restoring: Restoring, target: Path, delete_extra: bool) -> None:
    result = restoring.result
    found = extra_in(restoring.snapshot, target, result.notes) if delete_extra else []
    _remove(target, [extra for extra in found if extra.in_the_way], result)
    restoring.write()
    # Only now: a restore that stops, or is incomplete, removes nothing that it does not replace.
    if not restoring.damaged:
        _remove(target, [extra for extra in found if not extra.in_the_way], result)
    restoring.finish_folders()
    restoring.require_all("all others are complete; the same command with --store may restore these")


def _remove(target: Path, extras: list[Extra], result: Restored) -> None:
    for extra in extras:
        stays = list(remove_extra(target, extra))
        result.removed += not stays
        for path in stays:
            result.notes.append(f"{os.fsdecode(path)}: something is mounted there; it is left as it is")


@contextmanager
def _errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        name = os.fsdecode(error.filename) if isinstance(error.filename, bytes | str) else ""
        raise RestoreError(
            f"{target}: {name + ': ' if name else ''}{error.strerror}",
            "files restored so far are complete; --delete-extra removes what is in the way",
        ) from error
