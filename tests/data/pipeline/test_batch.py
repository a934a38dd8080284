import threading
import time


def test_closing_ends_the_threads(batches, make_source):
    def ours():
        return [t for t in threading.enumerate() if t.name.startswith("jaxseg-data")]

    iterator = batches(make_source())
    next(iterator)
    assert ours()
    iterator.close()
    assert not ours()


def test_waiting_is_counted(batches, make_source):
    slow = make_source(before=lambda index: time.sleep(0.05))
    with batches(slow, workers=1, batch_size=2) as iterator:
        next(iterator)
        assert iterator.wait_seconds > 0.09
        time.sleep(0.4)  # the next batch is ready by now
        before = iterator.wait_seconds
        next(iterator)
        assert iterator.wait_seconds - before < 0.05
