from videosyn.core.memory import available_cpu_bytes


def test_free_memory_is_known_here_and_positive():
    available = available_cpu_bytes()
    assert available is None or available > 0
