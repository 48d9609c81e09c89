import time
from types import SimpleNamespace

from srwm.training.clock import Clock


def test_sleep_takes_wall_time_alone_and_both_continue_from_what_was_spent():
    times = SimpleNamespace(seconds=100.0, cpu_seconds=50.0)
    clock = Clock(times)
    time.sleep(0.2)
    clock.update()
    assert 100.2 <= times.seconds < 110
    assert 50 <= times.cpu_seconds < 50.1
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    clock.update()
    assert 50.1 <= times.cpu_seconds < 51
