"""The owners of restored files."""

import grp
import os
import pwd
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.archive import Metadata

_Ids = dict[tuple[str, int], int]
_MOST_KNOWN = 10_000


@dataclass
class Owners:
    """Gives files to their owners, by name where this machine knows it (numbers differ between machines).

    Only root can; anyone else keeps what is restored. ``lost_xattrs`` counts attributes that could not be
    set.
    """

    may_give: bool
    numeric: bool = False
    lost_xattrs: int = 0
    _users: _Ids = field(default_factory=dict)
    _groups: _Ids = field(default_factory=dict)

    def give(self, target: int | str | bytes, metadata: Metadata, dir_fd: int | None = None) -> None:
        """Set user and group of an open file (a descriptor or its path), or of a link in an open folder.

        Nothing is done if that is not for us to do.
        """
        if self.may_give:
            user, group = self.user(metadata), self.group(metadata)
            os.chown(target, user, group, dir_fd=dir_fd, follow_symlinks=dir_fd is None)

    def mode(self, metadata: Metadata) -> int:
        """The rights: set-user-id bits of another owner's file must not become ours."""
        return metadata.mode & (0o7777 if self.may_give else 0o1777)

    def user(self, metadata: Metadata) -> int:
        return self._known(self._users, (metadata.user, metadata.uid), _user_id)

    def group(self, metadata: Metadata) -> int:
        return self._known(self._groups, (metadata.group, metadata.gid), _group_id)

    def _known(self, known: _Ids, key: tuple[str, int], find: Callable[[str, int], int]) -> int:
        if key not in known:
            if len(known) > _MOST_KNOWN:  # a hostile snapshot has another owner for each file
                known.clear()
            known[key] = key[1] if self.numeric else find(*key)
        return known[key]


def _user_id(name: str, number: int) -> int:
    try:
        return pwd.getpwnam(name).pw_uid if name else number
    except KeyError:
        return number


def _group_id(name: str, number: int) -> int:
    try:
        return grp.getgrnam(name).gr_gid if name else number
    except KeyError:
        return number
