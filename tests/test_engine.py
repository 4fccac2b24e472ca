"""The engine keeps order, limits waiting results, and separates faults of one photograph from those of all."""

from __future__ import annotations

import errno
import threading
import time

import cv2
import numpy as np
import pytest
import torch

from atlas.errors import DatasetError, StoreError
from atlas.pipeline.engine import Fault, run, single_threaded, worker_count
from atlas.tasks import in_threads, one_by_one


def test_results_come_in_order_whatever_finishes_first() -> None:
    def task(item: int, _: None) -> int:
        time.sleep(0.02 if item % 3 == 0 else 0)
        return item * item

    assert list(run(task, range(30), None, stage="squares", workers=4)) == [item * item for item in range(30)]


def test_progress_counts_every_item() -> None:
    calls: list[tuple[str, int, int]] = []
    list(
        run(
            lambda item, shared: f"{shared}{item}",
            [1, 2, 3],
            "no. ",
            stage="words",
            workers=2,
            progress=lambda *call: calls.append(call),
        )
    )
    assert calls == [("words", 0, 3), ("words", 1, 3), ("words", 2, 3), ("words", 3, 3)]


def test_a_fault_of_one_item_takes_its_place_and_the_rest_goes_on() -> None:
    def task(item: int, _: None) -> int:
        if item == 2:
            raise ValueError("item 2 is odd")
        if item == 5:
            raise DatasetError("item 5: cannot be read", "give another")
        return item

    results = list(run(task, range(8), None, stage="faulty", workers=2))
    assert [one for one in results if not isinstance(one, Fault)] == [0, 1, 3, 4, 6, 7]
    assert isinstance(results[2], Fault)
    assert "ValueError: item 2 is odd" in results[2].line
    assert results[5] == Fault("item 5: cannot be read", "give another", DatasetError)


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.ENOSPC, "full"), StoreError("store"), KeyboardInterrupt()])
def test_a_fault_of_the_machine_ends_the_run_and_drops_what_has_not_started(error: BaseException) -> None:
    started: list[int] = []

    def task(item: int, _: None) -> int:
        started.append(item)
        if item == 2:
            raise error
        return item

    with pytest.raises(type(error)):
        list(run(task, range(1000), None, stage="faulty", workers=2))
    assert len(started) < 20


def test_little_waits_while_the_reader_is_slow() -> None:
    started: list[int] = []
    results = run(lambda item, _: started.append(item) or item, range(1000), None, stage="slow", workers=2)
    for _ in range(5):
        next(results)
    time.sleep(0.05)
    assert len(started) <= 5 + 2 * 3
    results.close()


def test_numbers_do_not_depend_on_workers() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(3, 64, 3).eval()
    images = torch.rand(6, 1, 3, 64, 64)

    def task(image: torch.Tensor, _: None) -> bytes:
        with torch.inference_mode():
            return layer(image).numpy().tobytes()

    with single_threaded():
        assert list(run(task, list(images), None, stage="one", workers=1)) == list(
            run(task, list(images), None, stage="two", workers=2)
        )


def test_single_threaded_holds_and_restores_thread_counts() -> None:
    torch.set_num_threads(2)
    cv2.setNumThreads(2)
    try:
        with single_threaded():
            assert (torch.get_num_threads(), cv2.getNumThreads()) == (1, 1)
            seen: list[int] = list(run(lambda *_: torch.get_num_threads(), [0, 1], None, stage="threads", workers=2))
            assert seen == [1, 1]
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (2, 2)
    finally:
        torch.set_num_threads(1)
        cv2.setNumThreads(1)


def test_nothing_runs_for_no_items() -> None:
    before = threading.active_count()
    assert list(run(lambda item, _: item, [], None, stage="none")) == []
    assert threading.active_count() == before
    assert worker_count(3) == 3
    assert worker_count(None) >= 1
    assert np.isfinite(worker_count(None))


def test_threads_give_what_one_gives_and_drop_what_has_not_started_after_an_error() -> None:
    def task(item: int, shared: int) -> int:
        time.sleep(0.02 if item % 3 == 0 else 0)
        return item + shared

    calls: list[tuple[str, int, int]] = []
    each = in_threads(lambda *call: calls.append(call))
    assert list(each(task, range(7), 3, stage="sums")) == list(one_by_one(task, range(7), 3, stage="sums"))
    assert calls == [("sums", done, 7) for done in range(1, 8)]

    started: list[int] = []

    def fails(item: int, _: None) -> None:
        started.append(item)
        time.sleep(0.02)
        raise StoreError("store")

    with pytest.raises(StoreError):
        list(each(fails, range(1000), None, stage="faulty"))
    assert len(started) < 1000
