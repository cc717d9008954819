"""What `RUN --mount` lends to a step, and that it does not stay in the image."""

from contextlib import suppress

import pytest

from tests.end_to_end.site import Site

pytestmark = pytest.mark.namespaces


def test_a_bind_shows_the_context_and_takes_no_writes(site: Site) -> None:
    site.write("tool.sh", "echo from the tool")

    tree = site.tree("""\
FROM busybox
RUN --mount=type=bind,target=/ctx sh /ctx/tool.sh > /said; ! touch /ctx/new
RUN --mount=target=/w,rw touch /w/new && ls /w > /listed
""")

    assert tree["said"].content == b"from the tool\n"
    assert tree["listed"].content == b"new\ntool.sh\n"
    assert "ctx" not in tree
    assert list(site.context.iterdir()) == [site.context / "tool.sh"]


def test_a_bind_shows_another_stage(site: Site) -> None:
    tree = site.tree("""\
FROM busybox AS maker
RUN mkdir /out && echo made > /out/it
FROM busybox
RUN --mount=from=maker,source=/out,target=/made cp /made/it /it
""")

    assert tree["it"].content == b"made\n"


def test_a_cache_survives_between_builds_and_not_in_the_image(site: Site) -> None:
    dockerfile = """\
FROM busybox
ARG ROUND
RUN --mount=type=cache,target=/cache,id=c echo $ROUND >> /cache/rounds; cp /cache/rounds /seen
"""
    site.build(dockerfile, "--build-arg=ROUND=1")

    tree = site.tree(dockerfile, "--build-arg=ROUND=2")

    assert tree["seen"].content == b"1\n2\n"
    assert "cache/rounds" not in tree


def test_a_tmpfs_is_empty_and_forgotten(site: Site) -> None:
    tree = site.tree("""\
FROM busybox
RUN --mount=type=tmpfs,target=/t,size=1m \\
    ls -A /t > /before; echo x > /t/x; grep ' /t ' /proc/mounts > /m
""")

    assert tree["before"].content == b""
    assert b"tmpfs" in tree["m"].content
    assert "t/x" not in tree


def test_a_secret_is_lent_and_never_written_down(site: Site) -> None:
    key = site.directory / "key"
    key.write_text("a-most-secret-value")

    tree = site.tree(
        """\
FROM busybox
RUN --mount=type=secret,id=key \\
    wc -c < /run/secrets/key > /length; stat -c %a /run/secrets/key > /mode
RUN --mount=type=secret,id=token,env=TOKEN test "$TOKEN" = from-the-environment
RUN test ! -e /run/secrets/key
""",
        f"--secret=id=key,src={key}",
        "--secret=id=token,env=MY_TOKEN",
        MY_TOKEN="from-the-environment",
    )

    assert tree["length"].content.strip() == b"19"
    assert tree["mode"].content.strip() == b"400"
    assert not any(b"a-most-secret-value" in file.content for file in tree.values())
    for path in site.state.rglob("*"):
        with suppress(FileNotFoundError):  # the store still tidies up behind the command
            assert not path.is_file() or b"a-most-secret-value" not in path.read_bytes(), path


def test_another_secret_does_not_run_a_step_again(site: Site) -> None:
    key = site.directory / "key"
    dockerfile = "FROM busybox\nRUN --mount=type=secret,id=key cat /run/secrets/key\n"
    key.write_text("one")
    site.build(dockerfile, f"--secret=id=key,src={key}")
    key.write_text("two")

    again = site.build(dockerfile, f"--secret=id=key,src={key}")

    assert again.is_cached("cat /run/secrets/key")


def test_a_required_secret_that_is_not_given_is_an_error(site: Site) -> None:
    dockerfile = (
        "FROM busybox\nRUN --mount=type=secret,id=absent,required cat /run/secrets/absent\n"
    )

    built = site.build(dockerfile, status=1)

    assert "absent" in built.stderr
    assert ">>> RUN" in built.stderr
