"""Several jobs in parallel: each in its own process, with a maximum per host and per store."""

from collections.abc import Callable, Sequence

from orchestrator.config.tasks import Task
from orchestrator.scheduler.children import Children, Ended
from orchestrator.scheduler.slots import Parallelism, Resources, startable
from orchestrator.state.context import Context


def resources_of(context: Context) -> dict[str, Resources]:
    return {name: Resources(job.host, tuple(job.stores)) for name, job in context.settings.backups.items()}


def run_all(
    context: Context,
    children: Children,
    jobs: Sequence[str],
    limits: Parallelism,
    report: Callable[[Ended], None],
) -> list[Ended]:
    """Run these jobs, also when one fails; how each ended, in the order of ``jobs``.

    When interrupted (KeyboardInterrupt) it waits until every child has cleaned up.
    """
    waiting = [Task(job, "run") for job in jobs]
    done: list[Ended] = []
    resources = resources_of(context)
    try:
        while waiting or children.running or not children.ended.empty():
            for task in startable(waiting, children.running, resources, limits):
                waiting.remove(task)
                children.start(task)
            done.append(_next(children, report))
    except KeyboardInterrupt:
        children.break_off()
        while children.running:
            _next(children, report)
        raise
    return sorted(done, key=lambda ended: jobs.index(ended.task.job))


def _next(children: Children, report: Callable[[Ended], None]) -> Ended:
    ended = children.ended.get()
    children.forget(ended)
    report(ended)
    return ended
