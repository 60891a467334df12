import pytest

from videosyn.app.serve.command import run
from videosyn.app.serve.options import TOKEN_VARIABLE, Limits, ServeOptions
from videosyn.core.errors import UserError

TOKEN = "0123456789abcdef0123"


@pytest.fixture(autouse=True)
def _no_token(monkeypatch):
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)


def test_by_itself_it_listens_to_this_machine_alone():
    options = ServeOptions()
    options.check()
    assert (options.host, options.token()) == ("127.0.0.1", None)


def test_another_address_needs_a_token_or_a_waiver(monkeypatch):
    with pytest.raises(UserError, match=r"listening on 0\.0\.0\.0 needs a token: set VIDEOSYN_TOKEN"):
        ServeOptions(host="0.0.0.0").check()
    ServeOptions(host="0.0.0.0", insecure=True).check()
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    ServeOptions(host="0.0.0.0").check()


def test_the_token_may_lie_in_a_file(tmp_path):
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    options = ServeOptions(host="0.0.0.0", token_file=tmp_path / "token")
    options.check()
    assert options.token() == TOKEN


@pytest.mark.parametrize("token", ["", "short", "x" * 15, "with spaces in between", "ümläute-ümläute-ümläute"])
def test_a_weak_or_unsendable_token_is_refused(monkeypatch, token):
    monkeypatch.setenv(TOKEN_VARIABLE, token)
    with pytest.raises(UserError, match="at least 16 characters of ASCII"):
        ServeOptions().check()


def test_models_have_names_and_clients_see_nothing_of_their_paths():
    options = ServeOptions(models=("nano", "/models/wan-1.3b", "big=/models/other", "Wan-AI/Wan2.1"))
    options.check()
    assert [name for name, _ in options.named_models()] == ["nano", "wan-1.3b", "big", "Wan2.1"]
    with pytest.raises(UserError, match="two models are named 'nano'"):
        ServeOptions(models=("nano", "/elsewhere/nano")).check()
    with pytest.raises(UserError, match=r"a model's name must be letters.*'a b'"):
        ServeOptions(models=("a b=nano",)).check()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"queue": 0}, "queue must be at least 1, got 0"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"devices": ()}, "devices must be at least 1"),
        ({"keep_hours": 0.0}, "keep-hours must be above 0"),
        ({"port": 70000}, "port must lie between 0 and 65535"),
        ({"models": ()}, "a model is needed"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_starts(wrong, said):
    with pytest.raises(UserError, match=said):
        ServeOptions(**wrong).check()


def test_only_dataset_folders_may_be_shown(tmp_path):
    with pytest.raises(UserError, match=r"is no dataset folder, it has no metadata.parquet"):
        ServeOptions(datasets=(tmp_path,)).check()


def test_limits_are_above_zero():
    with pytest.raises(UserError, match=r"limits\.upload-mb must be above 0, got 0"):
        Limits(upload_mb=0)


def test_data_lies_in_the_users_data_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert ServeOptions().data_folder() == tmp_path / "videosyn" / "serve"


@pytest.mark.parametrize("device", ["cuda:99", "tpu"])
def test_a_device_that_is_not_here_is_refused_before_anything_starts(device, tmp_path):
    data = tmp_path / "data"
    with pytest.raises(UserError, match=f"device '{device}'"):
        run(ServeOptions(devices=("cpu", device), data=data, port=0))
    assert not data.exists()
