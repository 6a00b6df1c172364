import threading
from itertools import islice

import pytest

from refacer.jobs.ahead import Room, in_order


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_results_come_in_order_with_their_errors(threads: int):
    def work(value: int) -> int:
        if value == 2:
            raise ValueError("two")
        return value * 10

    done = []
    for item, result in in_order(work, range(5), threads=threads, ahead=3):
        if item == 2:
            with pytest.raises(ValueError, match="two"):
                result()
        else:
            done.append((item, result()))
    assert done == [(0, 0), (1, 10), (3, 30), (4, 40)]


def test_no_more_is_begun_than_was_said():
    begun = []
    results = in_order(lambda value: begun.append(value), range(100), threads=2, ahead=4)
    for _, result in islice(results, 10):
        result()
    results.close()
    assert len(begun) <= 14


def test_several_are_worked_on_at_once():
    meet = threading.Barrier(3, timeout=20)
    results = [result() for _, result in in_order(lambda _: meet.wait(), range(3), threads=3, ahead=3)]
    assert sorted(results) == [0, 1, 2]


def test_without_threads_work_is_done_here_when_its_turn_has_come():
    seen = []
    for _, result in in_order(lambda _: seen.append(threading.current_thread()), range(2), threads=0, ahead=1):
        assert len(seen) < 2
        result()
    assert seen == [threading.current_thread()] * 2


def test_what_does_not_fit_waits_and_what_never_fits_goes_alone():
    room, inside, most = Room(10), [], []
    lock = threading.Lock()

    def work(amount: int) -> None:
        with room.taken(amount):
            with lock:
                inside.append(min(amount, 10))
                most.append(sum(inside))
            with lock:
                inside.remove(min(amount, 10))

    for _, result in in_order(work, [4, 4, 4, 50, 3, 9, 1] * 20, threads=6, ahead=12):
        result()
    assert max(most) <= 10
