"""Which texts of the configuration are shown to strangers, and which may hold a secret (spec/challenge.md).

On doubt a text is left out. Only three files are candidates at all: what the broker is started with, its access list,
the settings; and each only as long as it is, byte for byte, what was measured.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final

from sigillo.broker.configuration import Configuration
from sigillo.broker.directive import read_directives
from sigillo.broker.error import BrokerError
from sigillo.broker.folder import OperatorFolder
from sigillo.core.challenge import MAX_TEXT, ConfigurationText, Hidden

_NAMES_ONLY: Final = re.compile(
    r"^(?:password_file|psk_file)[ ]+\S+[ ]*$|(?<![\w-])(?:mosquitto_password_file\.so|psk_hint)(?![\w-])", re.MULTILINE
)
"""What looks like a secret and names a file, or what everybody is told."""
_DOUBT: Final = re.compile(
    r"""pass.?w(?:or)?[dt] | \bpwd\b | \bpass\b | pass.?phrase
    | kpass | secret | psk | credential | api.?key | bearer | \btoken\b
    | (?:plugin|auth)_opt_                    # a plugin's own: nobody knows what they mean
    | PRIVATE\ KEY
    | ://[^/\s"']*@ | ://[^\s"']*\?            # a URL with a user, or with a query: perhaps more
    | ^[\s#]*[^:\s]+:\$\d+\$                  # a line of a password file, in a comment too
    | ^[\s#]*[^:\s]+:[0-9a-f]{8,}\s*$         # a line of a psk file
    """,
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)


def holds_secret(text: str) -> bool:
    """Whether the text of a configuration file may hold a secret: in a directive, a value, or a comment."""
    return _DOUBT.search(_NAMES_ONLY.sub(" ", text)) is not None


def configuration_texts(folder: OperatorFolder, configuration: Configuration) -> tuple[ConfigurationText, ...]:
    """Every file of the configuration by its name in the closure, with its text where that may be shown."""
    shown = _candidates(folder, configuration)
    return tuple(
        _shown(folder.path / name, name, digest)
        if folder.path / name in shown
        else ConfigurationText(name, None, Hidden.OTHER)
        for name, digest in sorted(configuration.digests.items(), key=lambda item: item[0].encode())
    )


def _candidates(folder: OperatorFolder, configuration: Configuration) -> set[Path]:
    found = {configuration.file, folder.settings}
    try:
        access = read_directives(configuration.file).broker.get("acl_file")
    except BrokerError:  # it was changed since it was measured: no text of it is shown either
        return found
    return found | ({folder.path / access.value} if access else set())


def _shown(path: Path, name: str, digest: bytes) -> ConfigurationText:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_TEXT + 1)
    except OSError:
        return ConfigurationText(name, None, Hidden.CHANGED)
    if len(content) > MAX_TEXT:
        return ConfigurationText(name, None, Hidden.SIZE)
    if hashlib.sha256(content).digest() != digest:
        return ConfigurationText(name, None, Hidden.CHANGED)
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return ConfigurationText(name, None, Hidden.SIZE)
    return ConfigurationText(name, None, Hidden.SECRET) if holds_secret(text) else ConfigurationText(name, text)
