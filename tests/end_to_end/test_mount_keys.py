"""Every key of `RUN --mount`, and what a mount leaves behind: nothing."""

import pytest

from tests.end_to_end.site import Site

pytestmark = pytest.mark.namespaces


def stored(site: Site) -> set[str]:
    return {path.name for path in (site.state / "snapshots").iterdir()}


def test_a_bind_of_the_context_is_a_step_of_its_own(site: Site) -> None:
    site.write("d/a", "A")
    site.write("other", "1")
    dockerfile = "FROM busybox\nRUN --mount=source=d,target=/m cat /m/a > /x && echo {}\n"
    site.build(dockerfile.format(1))
    before = stored(site)

    site.write("other", "2")
    same = site.build(dockerfile.format(1))
    again = site.build(dockerfile.format(2))

    assert same.is_cached("RUN")
    assert not again.is_cached("RUN")
    assert len(stored(site) - before) == 1
    site.write("d/a", "B")
    assert site.tree(dockerfile.format(2))["x"].content == b"B"


def test_a_bind_of_a_single_file_and_of_a_link(site: Site) -> None:
    site.write("d/a", "A")
    (site.context / "link").symlink_to("d/a")

    tree = site.tree(
        "FROM busybox\nWORKDIR /w\nRUN --mount=type=bind,src=d/a,dst=a"
        " --mount=source=link,destination=l,readonly cat a l > /x; ls -ln a > /owner\n"
    )

    assert tree["x"].content == b"AA"
    assert tree["owner"].content.split()[2:4] == [b"0", b"0"]
    assert not {"w/a", "w/l"} & tree.keys()


@pytest.mark.parametrize("key", ["rw", "readwrite", "rw=true", "ro=false"])
def test_what_a_writable_bind_gets_is_thrown_away(site: Site, key: str) -> None:
    site.write("a", "A")
    mount = f"--mount=target=/m,{key}"

    tree = site.tree(
        f"FROM busybox\nRUN {mount} echo B > /m/a && cat /m/a > /x\nRUN {mount} cat /m/a > /y\n"
    )

    assert (tree["x"].content, tree["y"].content) == (b"B\n", b"A")
    assert (site.context / "a").read_text() == "A"


def test_a_missing_source_is_told_at_its_line(site: Site) -> None:
    built = site.build("FROM busybox\nRUN --mount=source=none,target=/m true\n", status=1)

    assert '"/none": not found' in built.stderr
    assert "Dockerfile:2\n" in built.stderr


def test_a_cache_has_the_owner_the_mode_and_the_content_it_begins_with(site: Site) -> None:
    tree = site.tree("""\
FROM busybox AS seed
RUN mkdir /s && echo seed > /s/a
FROM busybox
RUN --mount=type=cache,target=/c,id=x,uid=3,gid=4,mode=0700,from=seed,source=/s \\
    stat -c '%u:%g %a' /c > /owner; cat /c/a > /a; echo more > /c/b
RUN --mount=type=cache,target=/c,id=x,uid=3,gid=4,mode=0700,from=seed,source=/s,ro \\
    ls /c > /listed; ! touch /c/new
""")

    assert tree["owner"].content == b"3:4 700\n"
    assert tree["a"].content == b"seed\n"
    assert tree["listed"].content == b"a\nb\n"


@pytest.mark.parametrize(("sharing", "seen"), [("shared", b"1\n2\n"), ("locked", b"1\n2\n"),
                                                ("private", b"1\n2\n")])  # fmt: skip
def test_one_step_after_another_has_the_same_cache(site: Site, sharing: str, seen: bytes) -> None:
    mount = f"--mount=type=cache,target=/c,sharing={sharing}"

    tree = site.tree(
        f"FROM busybox\nRUN {mount} echo 1 >> /c/x\nRUN {mount} echo 2 >> /c/x; cp /c/x /seen\n"
    )

    assert tree["seen"].content == seen


def test_steps_at_the_same_time_share_wait_or_have_their_own(site: Site) -> None:
    stage = """\
FROM busybox AS s{n}
RUN --mount=type=cache,target=/c,id={id},sharing={sharing} \\
    echo {n} >> /c/x; sleep 0.6; cp /c/x /seen{n}
"""
    seen = {}
    for sharing in ("shared", "locked", "private"):
        stages = "".join(stage.format(n=n, id=sharing, sharing=sharing) for n in (1, 2))
        tree = site.tree(
            f"{stages}FROM scratch\nCOPY --from=s1 /seen1 /\nCOPY --from=s2 /seen2 /\n"
        )
        seen[sharing] = sorted(len(tree[name].content.split()) for name in ("seen1", "seen2"))

    assert seen == {"shared": [2, 2], "locked": [1, 2], "private": [1, 1]}


def test_a_tmpfs_has_the_size_it_is_given(site: Site) -> None:
    tree = site.tree(
        "FROM busybox\nRUN --mount=type=tmpfs,target=/t,size=1048576 df -k /t | tail -1 > /size\n"
    )

    assert tree["size"].content.split()[1] == b"1024"


def test_a_secret_is_a_file_a_variable_or_both(site: Site) -> None:
    path = site.directory / "token"
    path.write_text("from a file")

    tree = site.tree(
        """\
FROM busybox
RUN --mount=type=secret,id=f,target=/s/f,mode=0440,uid=3,gid=4 \\
    stat -c '%u:%g %a' /s/f > /owner; cat /s/f > /f
RUN --mount=type=secret,id=e,env=TOKEN echo -n "$TOKEN" > /e; test ! -e /run/secrets/e
RUN --mount=type=secret,id=e,env=TOKEN,target=/t cat /t > /both; echo -n "$TOKEN" >> /both
RUN --mount=type=secret,id=none,env=NONE echo "${NONE-unset}" > /none
RUN --mount=type=secret,target=f cat f > /named
""",
        f"--secret=id=f,src={path}",
        "--secret=id=e,env=OUTER",
        OUTER="from outside",
    )

    assert tree["owner"].content == b"3:4 440\n"
    assert tree["f"].content == tree["named"].content == b"from a file"
    assert tree["e"].content == b"from outside"
    assert tree["both"].content == b"from outside" * 2
    assert tree["none"].content == b"\n"
    assert not {"s", "s/f", "t", "f/f"} & tree.keys()


def test_an_unknown_key_type_or_value_gets_a_suggestion(site: Site) -> None:
    for mount, words in (
        ("type=cahce,target=/c", "cache"),
        ("type=cache,targt=/c", "target"),
        ("type=cache,target=/c,sharing=lokced", "locked"),
    ):
        built = site.build(f"FROM busybox\nRUN --mount={mount} true\n", status=1)
        assert words in built.stderr.split("error: ")[1]
