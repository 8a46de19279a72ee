"""What to write instead of the parts of a pattern that have no common meaning on all databases."""

from __future__ import annotations

#: What to write instead of an escape that has no common meaning.
ESCAPE_REMEDIES = {
    "p": "list the characters, such as [A-Za-zÀ-ÿ]",
    "P": "list the characters, such as [^A-Za-zÀ-ÿ]",
    "N": "write the character itself, or \\uXXXX",
    "z": "write $ or \\Z for the end of the text",
    "G": "write ^ for the start of the text",
    "R": "write (\\r\\n|[\\n\\r])",
    "h": "write [ \\t]",
    "H": "write [^ \\t]",
    "K": "remove it: a check only asks whether there is a match",
    "X": "write . for a character",
    "Q": "escape each character with a backslash, or call re.escape(text)",
    "E": "escape each character with a backslash, or call re.escape(text)",
    "y": "write \\b for a word boundary",
    "Y": "write \\B for a place that is no word boundary",
    "m": "write \\b for a word boundary",
    "M": "write \\b for a word boundary",
    "e": "write \\x1b",
}
_LOOKBEHIND = "use holds() with a condition of the database instead"
#: What to write instead of a group that has no common meaning, by how it begins.
GROUP_REMEDIES = {
    "(?P<": "write a group without a name: (...)",
    "(?P=": "repeat what the group matches",
    "(?P>": "repeat the group",
    "(?<=": _LOOKBEHIND,
    "(?<!": _LOOKBEHIND,
    "(?<": "write a group without a name: (...)",
    "(?>": "write (?:...)",
    "(?#": "remove the comment",
    "(?(": "write alternatives: (a|b)",
    "(?i": "list both cases, such as [Tt]itle",
    "(?s": "write [\\s\\S] for any character, including a newline",
    "(?m": "write (^|\\n) for the start of a line",
    "(?x": "remove the flag, and the blanks and comments in the pattern",
    "(*": "escape the asterisk: \\*",
}
