from builder.dockerfile.naming import script_summary, step_name, upper_keyword


def test_step_numbers_are_as_wide_as_the_total() -> None:
    assert step_name("RUN x", stage="b", step=2, total=4) == "[b 2/4] RUN x"
    assert step_name("RUN x", stage="", step=2, total=12) == "[ 2/12] RUN x"


def test_platforms_and_triggers_are_shown() -> None:
    name = step_name("RUN x", stage="b", step=1, total=1, platform="linux/arm64", is_trigger=True)

    assert name == "[linux/arm64 b 1/1] ONBUILD RUN x"


def test_only_the_keyword_is_put_in_capitals() -> None:
    assert upper_keyword("run echo hi") == "RUN echo hi"
    assert upper_keyword("cmd") == "CMD"


def test_a_script_is_known_by_its_first_line() -> None:
    assert script_summary("\necho a\r\necho b\n") == "echo a..."
    assert script_summary("echo a\n") == "echo a"
