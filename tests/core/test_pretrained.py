import pytest

from videosyn.core.errors import UserError
from videosyn.core.pretrained import load_strictly

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


@pytest.mark.parametrize("content", [POINTER, b"\x40\0\0\0\0\0\0\0{", b""], ids=["pointer", "cut", "empty"])
def test_a_damaged_file_of_weights_is_a_user_error_of_one_line(save_t5, tmp_path, content):
    from transformers import T5EncoderModel

    folder = save_t5(tmp_path / "t5")
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"captioner: cannot load '.*t5'") as caught:
        load_strictly(T5EncoderModel, str(folder), "captioner")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [KeyError("d_model"), TypeError("no number"), ImportError("needs timm")])
def test_what_a_damaged_config_raises_is_a_user_error(error):
    class Kind:
        @staticmethod
        def from_pretrained(model, **how):
            raise error

    with pytest.raises(UserError, match=r"clip: cannot load 'a/b' \(.*(d_model|no number|needs timm)"):
        load_strictly(Kind, "a/b", "clip")
