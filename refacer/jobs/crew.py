"""A crew: workers on the machines of a Ray cluster. What one had in hand when it died is done by another one."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Condition
from typing import Any, Generic, TypeVar

from refacer import __version__, console
from refacer.errors import OutOfMemory, RefacerError, UsageError
from refacer.jobs.ahead import in_order
from refacer.jobs.cluster import connected, losses
from refacer.jobs.worker import Recipe, Settings, Worker

T = TypeVar("T")
R = TypeVar("R")

PLACES = 2
"""Tasks in a worker's hands: one is read while the other is worked on."""

TRIES = 3
"""Workers that a task is given to; after the first death it has a worker for itself, so that no neighbour pays."""

PATIENCE_S, HINT_S = 600.0, 10.0
"""So long a cluster may have no worker for us; after HINT_S it is told."""

POLL_S, LOOK_S = 0.2, 5.0
"""Between two looks for workers that are ready; for machines that have joined."""


@dataclass(eq=False)
class _Hand:
    """A worker as the crew sees it."""

    node: str
    machine: str
    actor: Any
    ready: Any
    free: int = PLACES


class Crew(Generic[T, R]):
    """Workers at work, from `crew` below. `do` may be called by many threads.

    places: tasks that all the machines can have in hand at once, as many as there are now.
    """

    def __init__(self, ray: Any, recipe: Recipe, tasks: int) -> None:
        self._ray, self._tasks = ray, tasks
        nodes = self._nodes()
        has_gpus = any(node["Resources"].get("GPU") for node in nodes)
        self._gpus = recipe.device == "cuda" or (recipe.device == "auto" and has_gpus)
        self._cores = 1 if self._gpus else recipe.cores
        given = pickle.dumps(recipe.make), pickle.dumps(recipe.signature), recipe.seen
        variables = {name: value for name, value in os.environ.items() if name.startswith(("REFACER_", "OMP_WAIT"))}
        device = "cuda" if self._gpus else "cpu"
        self._settings = ray.put(Settings(*given, device, os.getcwd(), variables))
        self._hands: list[_Hand] = []
        self._coming: list[_Hand] = []
        self._known: set[str] = set()
        self._refused: list[RefacerError] = []
        self._changed = Condition()
        self._since = self._looked = time.monotonic()
        self.stopped = False
        self._look(nodes)
        if not self._coming:
            told = "no GPU" if self._gpus else f"no machine with {self._cores} free core(s)"
            raise UsageError(f"--cluster: the cluster has {told}; choose another --device, or another cluster")
        self.places = PLACES * len(self._coming)

    @property
    def told(self) -> str:
        """How many there are, in words."""
        return f"{_count(self.places // PLACES, 'worker')} on {_count(len(self._known), 'machine')}"

    def assemble(self, tell: Callable[[str], None]) -> None:
        """Wait for the first worker; raises why there is none."""
        told = False
        with self._changed:
            while not self._admit():
                self._despair()
                if not told and time.monotonic() - self._since > HINT_S:
                    tell("--cluster: waiting for a worker; the cluster is at other work, or still starting")
                    told = True
                self._changed.wait(POLL_S)

    def do(self, task: T) -> R:
        """What a worker makes of a task. Raises what the task raises, OutOfMemory where its workers keep dying."""
        lost, deaths = losses(), 0
        while True:
            hand = self._take(PLACES if deaths else 1)
            places = PLACES if deaths else 1
            try:
                return self._ray.get(hand.actor.do.remote(task))
            except lost as error:
                deaths += 1
                self._lose(hand)
                if self.stopped:
                    raise
                if deaths == TRIES:
                    told = f"{TRIES} workers have died at it, for want of memory or of room on their disks"
                    raise OutOfMemory(f"{told}; give a smaller picture, or fewer workers a machine") from error
            finally:
                self._give_back(hand, places)

    def in_order(self, do: Callable[[T], R], tasks: Sequence[T]) -> Generator[tuple[T, Callable[[], R]]]:
        """Each task in order with what `do` makes of it, as `ahead.in_order`; `do` asks the workers."""
        threads = min(2 * self.places, len(tasks))  # as many machines may join
        return in_order(do, tasks, threads=threads, ahead=2 * threads)

    @contextmanager
    def halting(self) -> Iterator[None]:
        """What is at work is given up where the block ends early: nobody waits for it."""
        try:
            yield
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all workers."""
        with self._changed:
            self.stopped = True
            for hand in (*self._hands, *self._coming):
                self._ray.kill(hand.actor)
            self._changed.notify_all()

    def _take(self, places: int) -> _Hand:
        """The worker with the most free places, when there is one with so many. Raises where none is left."""
        with self._changed:
            while True:
                if self.stopped:
                    raise RefacerError("--cluster: stopped")
                self._admit()
                hand = max(self._hands, key=lambda one: one.free, default=None)
                if hand is not None and hand.free >= places:
                    hand.free -= places
                    return hand
                if hand is None:
                    self._despair()
                self._changed.wait(POLL_S)

    def _give_back(self, hand: _Hand, places: int) -> None:
        with self._changed:
            hand.free += places
            self._changed.notify_all()

    def _lose(self, hand: _Hand) -> None:
        """Let a dead worker go, and put another one in its place where its machine is still there."""
        with self._changed:
            if hand not in self._hands or self.stopped:
                return
            self._hands.remove(hand)
            self._since = time.monotonic()
            console.warn(f"--cluster: a worker on {hand.machine} died; what it had in hand is done by another")
            with suppress(ValueError):
                self._ray.kill(hand.actor)
            if hand.node in {node["NodeID"] for node in self._nodes()}:
                self._coming.append(self._summon(hand.node, hand.machine))

    def _admit(self) -> bool:
        """Take in who is ready; whether there is anyone. A machine that has joined meanwhile gets workers, too."""
        if time.monotonic() - self._looked > LOOK_S:
            self._look(self._nodes())
        waiting = {hand.ready: hand for hand in self._coming}
        done = self._ray.wait(list(waiting), num_returns=len(waiting), timeout=0)[0] if waiting else ()
        for ref in done:
            hand = waiting[ref]
            self._coming.remove(hand)
            error = self._refusal(ref)
            if error is None:
                self._hands.append(hand)
                continue
            self._refused.append(error)
            console.warn(f"--cluster: {hand.machine} is given no work: {error}")
            self._ray.kill(hand.actor)
        if done:
            self._changed.notify_all()
        return bool(self._hands)

    def _refusal(self, ref: Any) -> RefacerError | None:
        try:
            return self._ray.get(ref)
        except Exception as error:  # it died, or could not even begin
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            return RefacerError(f"no worker could be started there ({console.one_line(lines[-1] if lines else '')})")

    def _despair(self) -> None:
        """Raise where no worker is there and none will come."""
        if self._hands:
            return
        if not self._coming and self._refused:
            raise self._refused[0]
        if not self._coming or time.monotonic() - self._since > PATIENCE_S:
            raise RefacerError("--cluster: no worker is there; start machines, and the same command goes on")

    def _look(self, nodes: list[Any]) -> None:
        """Ask for workers on machines that are new, no more than there are tasks."""
        self._looked = time.monotonic()
        for node in nodes:
            if node["NodeID"] in self._known:
                continue
            resources = node["Resources"]
            kind, share = ("GPU", 1) if self._gpus else ("CPU", self._cores)
            for _ in range(int(resources.get(kind, 0) // share)):
                if len(self._hands) + len(self._coming) < self._tasks:
                    self._known.add(node["NodeID"])
                    self._coming.append(self._summon(node["NodeID"], node["NodeManagerHostname"]))

    def _summon(self, node: str, machine: str) -> _Hand:
        """Ask for a worker on a machine."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        remote = self._ray.remote(
            num_cpus=self._cores,
            num_gpus=int(self._gpus),
            max_concurrency=PLACES,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        )
        actor = remote(Worker).remote(self._settings)
        return _Hand(node, machine, actor, actor.refusal.remote(__version__))

    def _nodes(self) -> list[Any]:
        """The machines that are there."""
        return [node for node in self._ray.nodes() if node["Alive"]]


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


@contextmanager
def crew(where: str, recipe: Recipe, tasks: int, tell: Callable[[str], None]) -> Iterator[Crew[Any, Any]]:
    """A crew for so many tasks, on the cluster that `--cluster` names; workers end with the block.

    tell: says a line. Raises UsageError where there is no cluster, or what all workers refuse to begin for.
    """
    if recipe.device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {recipe.device}: workers have a GPU each; use auto, cpu or cuda with --cluster")
    with connected(where) as ray:
        workers = Crew(ray, recipe, tasks)
        try:
            workers.assemble(tell)
            tell(f"--cluster: {workers.told}")
            yield workers
        finally:
            workers.stop()
