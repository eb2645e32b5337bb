from __future__ import annotations

from pathlib import Path

import pytest

from harvester.links import ForeignLink, resolve_own
from tests.support.links import foreign_link


def test_links_of_this_user_are_followed(tmp_path: Path) -> None:
    (tmp_path / "there" / "deep").mkdir(parents=True)
    (tmp_path / "up").symlink_to("there/deep/..")
    (tmp_path / "absolute").symlink_to(tmp_path / "up" / "deep")
    for path in (tmp_path / "absolute" / "new.csv", tmp_path / "up" / "deep" / "no" / ".." / "new.csv"):
        assert resolve_own(path) == path.resolve() == tmp_path.resolve() / "there" / "deep" / "new.csv"


def test_relative_paths_begin_in_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_own(Path("a/b")) == tmp_path.resolve() / "a" / "b"


def test_a_circle_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="Too many levels"):
        resolve_own(tmp_path / "a")


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_of_another_user_is_refused(tmp_path: Path, *, exists: bool) -> None:
    target = tmp_path / "target"
    if exists:
        target.write_text("old")
    link = foreign_link(tmp_path / "link", target)
    (tmp_path / "ours").symlink_to(link)
    for path in (link, tmp_path / "ours", link / "inside"):
        with pytest.raises(ForeignLink, match=f"{link} is a link of another user"):
            resolve_own(path)
