"""Settings that cannot be read are refused in words."""

from pathlib import Path

import pytest

from fastcms.config import load_settings
from fastcms.errors import ConfigError


def test_an_env_file_that_is_no_text_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(b"FASTCMS_PORT=\xff\xfe\n")
    with pytest.raises(ConfigError, match=r"\.env file in .* cannot be read") as refused:
        load_settings()
    assert "UTF-8" in refused.value.hint
