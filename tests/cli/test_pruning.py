import time

import pytest

from builder.cli.pruning import cache_prune, image_prune, until_s
from builder.errors import UsageError


def test_until_is_an_age_or_a_time() -> None:
    hour_ago = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))

    assert until_s({}) is None
    assert until_s({"until": ("1h30m",)}) == 5400
    for text in (hour_ago, str(int(time.time()) - 3600)):
        age_s = until_s({"until": (text,)})
        assert age_s is not None
        assert 3595 <= age_s <= 3605


@pytest.mark.parametrize("values", [("soon",), ("1h", "2h")])
def test_a_wrong_until_is_a_usage_error(values: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        until_s({"until": values})


def test_images_with_names_go_only_when_asked_for() -> None:
    assert not image_prune({}, is_all=False).has_names_too
    assert image_prune({}, is_all=True).has_names_too
    assert image_prune({"dangling": ("false",)}, is_all=False).has_names_too


def test_unknown_filters_are_usage_errors() -> None:
    with pytest.raises(UsageError):
        image_prune({"labels": ("x",)}, is_all=False)
    with pytest.raises(UsageError):
        cache_prune({"label": ("x",)})
