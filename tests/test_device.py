import pytest
import torch

from refacer.device import (
    choose_device,
    free_memory,
    in_batches,
    is_out_of_memory,
    one_thread,
    require_compiler,
    seeded_generator,
    suits_one_thread,
)
from refacer.errors import UsageError


def test_the_cpu_is_always_there():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type in ("cpu", "cuda", "mps")


def test_one_thread_is_given_back_and_may_be_nested():
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with one_thread(False):
            assert torch.get_num_threads() == 3
        with one_thread():
            with one_thread():
                pass
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_only_small_networks_on_a_cpu_suit_one_thread():
    cpu = torch.device("cpu")
    assert suits_one_thread(cpu, 256)
    assert not suits_one_thread(cpu, 512)
    assert not suits_one_thread(torch.device("cuda"), 256)


def test_free_memory_is_a_number_of_bytes():
    assert 2**20 < free_memory() < 2**50


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta"])
def test_a_device_that_is_not_there_is_a_usage_error(name):
    with pytest.raises(UsageError, match="--device"):
        choose_device(name)


def test_where_nothing_can_be_compiled_one_line_says_so(monkeypatch):
    def compile_nothing(_function):
        def fail(_x):
            raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nmore")

        return fail

    monkeypatch.setattr(torch, "compile", compile_nothing)
    with pytest.raises(UsageError, match=r"^--compile: .*No working C\+\+ compiler found\); run without it$"):
        require_compiler(torch.device("cpu"))


def test_each_generator_is_its_own():
    first, second = seeded_generator(3), seeded_generator(3)
    assert torch.equal(torch.randn(4, generator=first), torch.randn(4, generator=second))


def test_batches_are_halved_until_they_fit():
    sizes = []

    def work(chunk):
        sizes.append(len(chunk))
        if len(chunk) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [value * 10 for value in chunk]

    assert in_batches(work, [1, 2, 3, 4, 5], 8) == [10, 20, 30, 40, 50]
    assert sizes == [5, 2, 2, 1]


def test_one_that_does_not_fit_is_an_error():
    def work(chunk):
        raise MemoryError

    with pytest.raises(MemoryError):
        in_batches(work, [1, 2], 2)


def test_other_errors_are_not_tried_again():
    def work(chunk):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes"):
        in_batches(work, [1, 2], 2)


def test_allocators_are_understood():
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"))
    assert is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried ..."))
    assert not is_out_of_memory(ValueError("out of memory"))
