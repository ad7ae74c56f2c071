"""`netra user key`: what it says beside the key."""

from pathlib import Path

from tests.unit.cli.command import netra


def test_who_gives_a_key_what_its_user_lacks_is_told(tmp_path: Path) -> None:
    added = netra("user", "add", "ada", "--permission", "a", "--password-stdin", cwd=tmp_path, stdin="a new password\n")
    assert added.code == 0
    plain = netra("user", "key", "ada", "--permission", "a", cwd=tmp_path)
    assert (plain.code, "lacks" in plain.err) == (0, False)
    wide = netra("user", "key", "ada", "--permission", "a", "--permission", "b", cwd=tmp_path)
    assert wide.code == 0
    assert wide.out.startswith("netra_")
    assert wide.err.endswith("ada lacks b: the key may do that only once its user may\n")
