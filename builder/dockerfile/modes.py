"""--chmod: octal digits or a symbolic expression, checked here and carried out by the copier.

Spec: POSIX, chmod, "symbolic_mode".
"""

_WHO = frozenset("ugoa")
_OPERATORS = frozenset("+-=")
_PERMISSIONS = frozenset("rwxXst")
_COPIED = frozenset("ugo")
MAX_OCTAL = 0o7777


def is_mode(text: str) -> bool:
    """Say whether a text is octal up to 07777, or symbolic like `u=rwX,go+r`."""
    if text.isascii() and text.isdigit():
        return not set(text) & {"8", "9"} and int(text, 8) <= MAX_OCTAL
    return all(_is_clause(clause) for clause in text.split(","))


def _is_clause(clause: str) -> bool:
    actions = clause.lstrip("".join(_WHO))
    if not actions or actions[0] not in _OPERATORS:
        return False
    for operator in _OPERATORS:
        actions = actions.replace(operator, "+")
    return all(_is_permission(part) for part in actions[1:].split("+"))


def _is_permission(part: str) -> bool:
    return _PERMISSIONS.issuperset(part) or (len(part) == 1 and part in _COPIED)
