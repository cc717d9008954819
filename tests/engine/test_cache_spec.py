"""What `--cache-from` and `--cache-to` say."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.engine.cache_spec import CacheSpec, parse_cache
from builder.errors import UsageError


def test_a_directory_with_all_that_can_be_said() -> None:
    text = "type=local,dest=/c,mode=max,tag=x,compression=zstd,compression-level=9,mounts=all"

    assert parse_cache(text, "--cache-to") == CacheSpec(
        "local", "/c", "x", "max", "zstd", 9, has_mounts=True
    )


def test_a_bare_word_is_a_reference() -> None:
    found = parse_cache("user/app:cache", "--cache-from")

    assert found == CacheSpec("registry", "user/app:cache", is_bare=True)


@pytest.mark.parametrize(
    "text",
    [
        "type=gha",
        "type=local",
        "type=local,dest=/c,mode=all",
        "type=local,dst=/c",
        "type=local,src=/c",
        "type=local,dest=/c,compression-level=x",
        "mode=max",
    ],
)
def test_what_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_cache(text, "--cache-to")


@given(st.text())
def test_any_text_is_a_cache_or_a_usage_error(text: str) -> None:
    with suppress(UsageError):
        assert parse_cache(text, "--cache-to").type in {"inline", "local", "registry"}
