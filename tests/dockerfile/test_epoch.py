import pytest

from builder.errors import BuilderError
from tests.dockerfile.builds import lowered


@pytest.mark.parametrize(
    ("stage", "reason"),
    [
        ("FROM base AS src\nADD https://x/y /", "SOURCE_DATE_EPOCH stage must use FROM scratch"),
        (
            "FROM scratch AS src\nCOPY a b",
            (
                "SOURCE_DATE_EPOCH stage does not meet source-only requirements: unsupported COPY"
                " instruction"
            ),
        ),
        ("FROM scratch AS src", "SOURCE_DATE_EPOCH stage must contain exactly one remote ADD"),
        (
            "FROM scratch AS src\nADD https://x/y /\nADD https://x/y /",
            "SOURCE_DATE_EPOCH stage must contain exactly one remote ADD",
        ),
        (
            "FROM scratch AS src\nADD local /",
            "SOURCE_DATE_EPOCH stage source must be a single HTTP(S) or Git ADD",
        ),
        ("FROM scratch", "invalid SOURCE_DATE_EPOCH: src"),
    ],
)
def test_unsuitable_sources_of_time_are_refused(stage: str, reason: str) -> None:
    with pytest.raises(BuilderError) as caught:
        lowered(f"ARG SOURCE_DATE_EPOCH=src\n{stage}\nFROM scratch")

    assert caught.value.what == reason


def test_arguments_of_the_source_stage_are_seen() -> None:
    text = (
        "ARG SOURCE_DATE_EPOCH=src\nFROM scratch AS src\nARG U=https://x/y\nADD $U /\nFROM scratch"
    )

    assert lowered(text).epoch_s == 7
