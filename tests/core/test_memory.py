import pytest

from videosyn.core.memory import _group_bytes, available_cpu_bytes

STAT = "anon 200\nfile 710\ninactive_file 600\nactive_file 100\nunevictable 10\n"


def test_free_memory_is_known_here_and_positive():
    available = available_cpu_bytes()
    assert available is None or available > 0


def group(folder, limit, used, stat=STAT, names=("memory.max", "memory.current")):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in zip((*names, "memory.stat"), (f"{limit}\n", f"{used}\n", stat)):
        (folder / name).write_text(value)


def left_of(tmp_path, lines):
    (tmp_path / "cgroup").write_text(lines)
    return _group_bytes(tmp_path / "cgroup", tmp_path / "root")


@pytest.mark.parametrize(
    ("limit", "used", "left"),
    [("1000", 900, 800), ("1000", 650, 1000), ("1000", 1800, 0), ("max", 900, None)],
)
def test_pages_of_files_that_were_read_do_not_count_as_used_in_a_control_group(tmp_path, limit, used, left):
    group(tmp_path / "root", limit, used)
    assert left_of(tmp_path, "0::/\n") == left


@pytest.mark.parametrize(("outer", "inner", "left"), [(9000, 1000, 800), (1000, 9000, 300), ("max", 1000, 800)])
def test_the_tightest_of_a_group_and_those_around_it_limits(tmp_path, outer, inner, left):
    group(tmp_path / "root", "max", 5000)
    group(tmp_path / "root/slurm", outer, 1400)
    group(tmp_path / "root/slurm/job_1:a", inner, 900)
    assert left_of(tmp_path, "0::/slurm/job_1:a\n") == left


@pytest.mark.parametrize(("outer", "left"), [(1 << 63, 800), (1500, 300)])
def test_control_groups_of_version_1_limit_too(tmp_path, outer, left):
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    stat = "inactive_file 1\nactive_file 1\ntotal_inactive_file 600\ntotal_active_file 100\n"
    group(tmp_path / "root/memory", outer, 1900, stat, names)
    group(tmp_path / "root/memory/job", 1000, 900, stat, names)
    assert left_of(tmp_path, "9:name=systemd:/x\n5:cpu,memory:/job\n0::/\n") == left


def test_in_a_container_the_groups_path_of_outside_is_not_seen_and_its_own_limits(tmp_path):
    group(tmp_path / "root", 1000, 900)
    assert left_of(tmp_path, "0::/docker/0123\n") == 800


def test_where_there_is_no_control_group_nothing_limits(tmp_path):
    assert _group_bytes(tmp_path / "cgroup", tmp_path) is None
    assert left_of(tmp_path, "0::/\n") is None
