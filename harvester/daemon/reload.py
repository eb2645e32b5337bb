"""Decision about a reload: which new settings take effect, and which keys need a restart.

Pure. A key that only a restart applies keeps the value with which the process started; all others take the new value
(each setting says in its SettingInfo which of the two it is). The comparison is with the start and not with the last
reload, so that every reload names a changed key again until the process restarts or the key is set back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, NamedTuple

from harvester.config import Settings
from harvester.config.setting_info import Reload, infos

SECTIONS: Final = ("database", "api", "daemon", "log")  # tables of the process; accounts are live as a whole


class Decision(NamedTuple):
    """Result of a reload."""

    settings: Settings  # to be used from now on
    restart_needed: tuple[str, ...]  # keys such as "log.level", in the order of the settings


def decide(started: Settings, new: Settings) -> Decision:
    """Return the settings to use after a reload and the changed keys that need a restart.

    Args:
        started: the settings with which the process started.
        new: the settings as they are written now.
    """
    sections: dict[str, Any] = {}
    changed: list[str] = []
    for name in SECTIONS:
        old, wanted = getattr(started, name), getattr(new, name)
        described = infos(type(wanted)).items()
        fixed = {key: getattr(old, key) for key, info in described if info.reload is Reload.RESTART}
        changed += [f"{name}.{key}" for key, value in fixed.items() if getattr(wanted, key) != value]
        sections[name] = replace(wanted, **fixed)
    return Decision(replace(new, **sections), tuple(changed))
