from __future__ import annotations

from harvester.daemon.passwords import Passwords


def test_a_password_has_changed_if_another_one_is_in_use() -> None:
    passwords = Passwords()
    assert passwords.note("main", "old") == "old"
    passwords.note("other", "same")
    assert passwords.changed({"main": "old", "other": "same", "unused": "any"}) == set()
    assert passwords.changed({"main": "new", "other": "same", "unused": "any"}) == {"main"}
    passwords.note("main", "new")
    assert passwords.changed({"main": "new"}) == set()
    assert "new" not in repr(vars(passwords))
