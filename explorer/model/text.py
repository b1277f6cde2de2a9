"""Show text from a kernel safely: nothing in it reaches a terminal as a control character."""

from __future__ import annotations

import unicodedata

__all__ = ("display_width", "escape_text", "kernel_bytes", "kernel_text")

_NAMED = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\x1b": "\\e", "\\": "\\\\"}
#: Categories that move the cursor, reorder text or draw nothing: control, format (bidi controls, zero-width
#: characters), surrogate (our own escaped bytes), private use, unassigned, line and paragraph separators.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def kernel_text(raw: bytes) -> str:
    """Decode bytes from the kernel without losing any: invalid UTF-8 becomes lone surrogates (PEP 383)."""
    return raw.decode("utf-8", "surrogateescape")


def kernel_bytes(text: str) -> bytes:
    """The bytes that :func:`kernel_text` was given.

    A stranger's snapshot may hold surrogates that no bytes decode to: those are encoded as they are.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _escape_char(char: str) -> str:
    named = _NAMED.get(char)
    if named is not None:
        return named
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if unicodedata.category(char) in _UNSAFE_CATEGORIES:
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    if unicodedata.combining(char) or (unicodedata.category(char) == "Zs" and char != " "):
        return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return char


def escape_text(text: str) -> str:
    r"""Make kernel text safe to print, and unambiguous: a backslash is doubled.

    Escapes control characters (``\e``, ``\n``, ``\x07``), bytes that are not UTF-8 (``\xff``), bidirectional
    and zero-width characters (``\u202e``), combining marks and unusual spaces.
    """
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return "".join(map(_escape_char, text))


def display_width(text: str) -> int:
    """Terminal columns of *escaped* text: two for wide characters, one for all others."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
