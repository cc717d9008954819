"""Directories in brief: what differs between two moments of a tree."""

from builder.layers.brief import count, differing, merged, packed_brief

A, B = b"a" * 32, b"b" * 32
FILE, LINK = 0o100644, 0o120777


def brief(**files: tuple[int, bytes]) -> bytes:
    return packed_brief((name, mode, digest) for name, (mode, digest) in files.items())


def test_every_kind_of_difference_is_told() -> None:
    before = {
        "": brief(a=(FILE, A), b=(FILE, A), c=(FILE, A), same=(FILE, A)),
        "d": brief(x=(FILE, A)),
        "gone": brief(y=(FILE, A)),
    }
    after = {
        "": brief(a=(FILE, B), b=(LINK, A), c=(0o100755, A), same=(FILE, A), z=(FILE, A)),
        "d": brief(x=(FILE, A)),
        "e": brief(new=(FILE, A)),
    }

    assert differing(before, after) == [
        ("a", "content"),
        ("b", "type"),
        ("c", "mode 0644 → 0755"),
        ("e/new", "added"),
        ("gone/y", "removed"),
        ("z", "added"),
    ]
    assert differing(after, after) == []


def test_briefs_of_one_tree_add_up() -> None:
    one = {"d": brief(a=(FILE, A)), "e": brief(x=(FILE, A))}
    other = {"d": brief(b=(FILE, B))}

    both = merged(one, other)

    assert differing(both, {"d": brief(a=(FILE, A), b=(FILE, B)), "e": one["e"]}) == []
    assert count(both["d"]) == 2
    assert count(brief()) == 0


def test_a_damaged_brief_says_nothing() -> None:
    assert differing({"d": b"junk"}, {"d": brief()}) == []
