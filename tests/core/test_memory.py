import pytest

from videosyn.core.memory import _group_bytes, available_cpu_bytes


def test_free_memory_is_known_here_and_positive():
    available = available_cpu_bytes()
    assert available is None or available > 0


@pytest.mark.parametrize(
    ("limit", "used", "left"),
    [("1000", 900, 800), ("1000", 650, 1000), ("1000", 1800, 0), ("max", 900, None)],
)
def test_pages_of_files_that_were_read_do_not_count_as_used_in_a_control_group(tmp_path, limit, used, left):
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text(f"{used}\n")
    (tmp_path / "memory.stat").write_text("anon 200\nfile 710\ninactive_file 600\nactive_file 100\nunevictable 10\n")
    assert _group_bytes(tmp_path) == left


def test_where_there_is_no_control_group_nothing_limits(tmp_path):
    assert _group_bytes(tmp_path) is None
