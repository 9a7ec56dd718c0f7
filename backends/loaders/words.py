"""Names of tensors in the words of a programming language: identifiers, string literals, comments.

A name is any text: a keyword, `my input/0`, quotes, another script. Literals are written in ASCII, so that no editor or
compiler has to guess how a file is encoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# Keywords, and what an identifier must not be for another reason: a macro, a member that every object has.
_CPP = """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class compl
    concept const consteval constexpr constinit const_cast continue co_await co_return co_yield decltype default delete
    do double dynamic_cast else enum explicit export extern false float for friend goto if inline int long mutable
    namespace new noexcept not not_eq nullptr operator or or_eq private protected public register reinterpret_cast
    requires return short signed sizeof static static_assert static_cast struct switch template this thread_local throw
    true try typedef typeid typename union unsigned using virtual void volatile wchar_t while xor xor_eq
    linux unix i386 NULL EOF NAN INFINITY assert errno stdin stdout stderr Bool Float16
"""
_PYTHON = """
    False None True and as assert async await break class continue def del elif else except finally for from global if
    import in is lambda nonlocal not or pass raise return try while with yield self np zip dict given
"""
_KOTLIN = """
    as break class continue do else false for fun if in interface is null object package return super this throw true
    try typealias typeof val var when while Class
    java kotlin abstract assert boolean byte case catch char const default double enum extends final finally float goto
    implements import instanceof int long native new private protected public short static strictfp switch synchronized
    throws transient void volatile
"""
_SWIFT = """
    associatedtype class deinit enum extension fileprivate func import init inout internal let open operator private
    precedencegroup protocol public rethrows static struct subscript typealias var break case catch continue default
    defer do else fallthrough for guard if in repeat return throw switch where while Any as await false is nil self Self
    super throws true try Type Protocol Foundation Swift
"""
# The names that the loaders themselves give.
_OURS = "Tensor Inputs Outputs Model Agreement Fault INPUTS OUTPUTS"
KEYWORDS = {
    language: frozenset(f"{words} {_OURS}".split())
    for language, words in {"cpp": _CPP, "python": _PYTHON, "kotlin": _KOTLIN, "swift": _SWIFT}.items()
}


def identifier(name: str, language: str, otherwise: str) -> str:
    """The name as an identifier of the language.

    Args:
        otherwise: what stands for a name without a letter or digit of ASCII, and before one that begins with a digit.
    """
    text = re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_") or otherwise
    if text[0].isdigit():
        text = f"{otherwise}_{text}"
    return f"{text}_" if text in KEYWORDS[language] else text


def identifiers(names: Iterable[str], language: str, otherwise: str) -> tuple[str, ...]:
    """One identifier a name, no two the same."""
    found: list[str] = []
    for name in names:
        wanted = one = identifier(name, language, otherwise)
        number = 2
        while one in found:
            one, number = f"{wanted}_{number}", number + 1
        found.append(one)
    return tuple(found)


def literal(text: str, language: str) -> str:
    """The text as a string literal of the language, which reads it as UTF-8 or Unicode as it does any other string."""
    return f'"{"".join(_WRITE[language](character) for character in text)}"'


def plain(text: str) -> str:
    """The text for a comment: in one line, of ASCII."""
    return text.encode("unicode_escape").decode("ascii")


def _is_plain(character: str) -> bool:
    # `$` begins a template in Kotlin, `?` may begin a trigraph in C++.
    return character.isascii() and character.isprintable() and character not in '"\\$?'


def _cpp(character: str) -> str:
    # Octal escapes end after three digits; those of \x do not end before a digit that follows.
    return character if _is_plain(character) else "".join(f"\\{byte:03o}" for byte in character.encode())


def _python(character: str) -> str:
    return character if _is_plain(character) else f"\\U{ord(character):08x}"


def _kotlin(character: str) -> str:
    units = character.encode("utf-16-be")
    pairs = (units[at : at + 2].hex() for at in range(0, len(units), 2))
    return character if _is_plain(character) else "".join(f"\\u{pair}" for pair in pairs)


def _swift(character: str) -> str:
    return character if _is_plain(character) else f"\\u{{{ord(character):x}}}"


_WRITE = {"cpp": _cpp, "python": _python, "kotlin": _kotlin, "swift": _swift}
