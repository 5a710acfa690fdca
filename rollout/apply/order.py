"""In which order hosts are changed: the leitstand host, the first other one of each role, then the rest."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

LEITSTAND, PAGE = "leitstand", "status_page"


@dataclass(frozen=True)
class Batch:
    """Hosts that are changed at once, and why these."""

    hosts: tuple[str, ...]
    why: str


def batches(roles: Mapping[str, Sequence[str]], share: float) -> list[Batch]:
    """Every host of ``roles`` (host → its roles, in the order of leitstand.yml) exactly once.

    ``share`` is the part of all hosts, more than 0 and at most 1, that one batch may have.
    Two hosts with the status page are never in one batch.
    """
    first = list(_first_ones(roles))
    chosen = {host for batch in first for host in batch.hosts}
    rest = [host for host in roles if host not in chosen]
    return first + list(_rest(rest, roles, max(1, math.floor(len(roles) * share))))


def _first_ones(roles: Mapping[str, Sequence[str]]) -> Iterator[Batch]:
    done: set[str] = set()
    tried: set[str] = set()
    for host in sorted(roles, key=lambda name: LEITSTAND not in roles[name]):
        new = [role for role in roles[host] if role not in tried]
        if new and host not in done:
            why = "the leitstand host" if LEITSTAND in new else f"the first host with {', '.join(new)}"
            yield Batch((host,), why)
            done.add(host)
            # Its package is another one than that of the other hosts: they have a first one of their own.
            tried.update([LEITSTAND] if LEITSTAND in new else roles[host])


def _rest(hosts: Sequence[str], roles: Mapping[str, Sequence[str]], most: int) -> Iterator[Batch]:
    waiting = list(hosts)
    while waiting:
        batch: list[str] = []
        for host in waiting:
            second_page = PAGE in roles[host] and any(PAGE in roles[other] for other in batch)
            if len(batch) < most and not second_page:
                batch.append(host)
        yield Batch(tuple(batch), "of the rest")
        waiting = [host for host in waiting if host not in batch]
