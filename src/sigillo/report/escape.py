"""Text that somebody else wrote, made safe to show on a terminal."""

from __future__ import annotations


def escape(text: str) -> str:
    """*text* with every character that is not printable written as an escape.

    That covers control characters (a terminal obeys them), line ends, and the invisible format characters by which a
    text can be shown in another order than it has (Unicode Technical Report 36, section 2.4). A backslash is doubled,
    so that nothing written by others looks like one of our escapes.
    """
    return "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
