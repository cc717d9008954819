"""What each instruction does to the image that comes out."""

import io
import tarfile

import pytest

from tests.end_to_end.site import Site

pytestmark = pytest.mark.namespaces


def test_an_image_from_scratch_holds_what_is_copied(site: Site) -> None:
    site.write("src/a", "one")
    site.write("src/sub/b", "two", mode=0o755)

    tree = site.tree("FROM scratch\nCOPY --chown=5:6 src/ /opt/app/\n")

    files = {name for name, file in tree.items() if file.entry.isreg()}
    assert files == {"opt/app/a", "opt/app/sub/b"}
    assert tree["opt/app/a"].content == b"one"
    assert (tree["opt/app/a"].entry.uid, tree["opt/app/a"].entry.gid) == (5, 6)
    assert tree["opt/app/sub/b"].entry.mode == 0o755


def test_only_the_last_stage_is_in_the_image(site: Site) -> None:
    tree = site.tree("""\
FROM busybox AS compiler
RUN mkdir /out && echo program > /out/program && echo waste > /out/waste
FROM scratch
COPY --from=compiler /out/program /
COPY --from=busybox /etc/passwd /passwd
""")

    assert sorted(tree) == ["passwd", "program"]
    assert tree["program"].content == b"program\n"


def test_metadata_instructions_reach_the_configuration(site: Site) -> None:
    config = site.config("""\
FROM busybox
LABEL one="1" two=2
ENV GREETING="hello world" TARGET=$PATH:/extra
EXPOSE 80 53/udp
VOLUME ["/data"]
USER 10:20
WORKDIR /srv
WORKDIR www
SHELL ["/bin/sh", "-ec"]
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=7s --retries=2 CMD true
ENTRYPOINT ["sh", "-c"]
CMD echo hello
MAINTAINER somebody
""")

    assert config["Labels"] == {"one": "1", "two": "2"}
    assert "GREETING=hello world" in config["Env"]
    assert any(v.startswith("TARGET=/") and v.endswith(":/extra") for v in config["Env"])
    assert set(config["ExposedPorts"]) == {"80/tcp", "53/udp"}
    assert set(config["Volumes"]) == {"/data"}
    assert (config["User"], config["WorkingDir"]) == ("10:20", "/srv/www")
    assert config["StopSignal"] == "SIGQUIT"
    assert config["Healthcheck"]["Test"] == ["CMD-SHELL", "true"]
    assert config["Healthcheck"]["Interval"] == 7_000_000_000
    assert config["Entrypoint"] == ["sh", "-c"]
    assert config["Cmd"] == ["/bin/sh", "-ec", "echo hello"]


@pytest.mark.root
def test_run_is_the_user_that_was_named(site: Site) -> None:
    tree = site.tree("FROM busybox\nUSER 33:34\nRUN id -u > /tmp/u; id -g > /tmp/g\n")

    assert (tree["tmp/u"].content, tree["tmp/g"].content) == (b"33\n", b"34\n")
    assert (tree["tmp/u"].entry.uid, tree["tmp/u"].entry.gid) == (33, 34)


def test_run_sees_environment_arguments_and_directory(site: Site) -> None:
    tree = site.tree(
        """\
FROM busybox
ENV COLOUR=green
ARG SIZE=small
ARG SHAPE
WORKDIR /work
RUN echo "$COLOUR $SIZE $SHAPE $(pwd)" > result
""",
        "--build-arg=SHAPE=round",
    )

    assert tree["work/result"].content == b"green small round /work\n"


def test_a_shell_can_be_chosen_and_left_out(site: Site) -> None:
    tree = site.tree("""\
FROM busybox
SHELL ["/bin/sh", "-e", "-c"]
RUN echo shell > /a; test ! -e /nothing
RUN ["sh", "-c", "echo $0 > /b", "exec form"]
""")

    assert tree["a"].content == b"shell\n"
    assert tree["b"].content == b"exec form\n"


def test_heredocs_are_scripts_and_files(site: Site) -> None:
    tree = site.tree("""\
FROM busybox
ENV NAME=world
RUN <<SCRIPT
set -e
echo one > /one
echo two > /two
SCRIPT
RUN <<SCRIPT
#!/bin/busybox sh
echo "$0" | grep -q . && echo hash-bang > /three
SCRIPT
RUN cat <<A - > /four
from a heredoc
A
COPY <<expanded <<'literal' /etc/
hello $NAME
expanded
hello $NAME
literal
""")

    assert (tree["one"].content, tree["two"].content) == (b"one\n", b"two\n")
    assert tree["three"].content == b"hash-bang\n"
    assert tree["four"].content == b"from a heredoc\n"
    assert tree["etc/expanded"].content == b"hello world\n"
    assert tree["etc/literal"].content == b"hello $NAME\n"


def test_ignored_files_are_not_in_the_context(site: Site) -> None:
    site.write(".dockerignore", "*.log\nsecret\n!keep.log\n")
    for name in ("a.txt", "b.log", "keep.log", "secret/key"):
        site.write(name, name)

    tree = site.tree("FROM scratch\nCOPY . /\n")

    assert set(tree) == {".dockerignore", "a.txt", "keep.log"}


def test_add_unpacks_archives_that_copy_copies(site: Site) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("inner/file")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"hey"))
    site.write("x.tar.gz").write_bytes(packed.getvalue())

    tree = site.tree("FROM scratch\nADD x.tar.gz /added/\nCOPY x.tar.gz /copied/\n")

    assert tree["added/inner/file"].content == b"hey"
    assert tree["copied/x.tar.gz"].content == packed.getvalue()


def test_copy_takes_patterns_links_and_parents(site: Site) -> None:
    site.write("a/one.txt", "1")
    site.write("a/two.md", "2")
    site.write("b/deep/three.txt", "3")
    (site.context / "link").symlink_to("a/one.txt")

    tree = site.tree("""\
# syntax=docker/dockerfile:1
FROM scratch
COPY a/*.txt link /flat/
COPY --parents b/deep/*.txt /kept/
COPY --exclude=*.md a /chosen/
COPY --link --chmod=600 a/two.md /linked
""")

    assert tree["flat/one.txt"].content == b"1"
    assert tree["flat/link"].content == b"1"
    assert tree["kept/b/deep/three.txt"].content == b"3"
    assert {name for name in tree if name.startswith("chosen/")} == {"chosen/one.txt"}
    assert tree["linked"].entry.mode == 0o600


def test_triggers_of_a_base_run_in_the_build_that_uses_it(site: Site) -> None:
    site.write("input", "fresh")
    site.build(
        "FROM busybox\nONBUILD COPY input /input\nONBUILD RUN wc -c </input >/n\n", "-t=base"
    )

    tree = site.tree("FROM base\nRUN cat /n > /m\n")

    assert tree["input"].content == b"fresh"
    assert tree["m"].content.strip() == b"5"


def test_a_deleted_file_is_gone_and_a_link_stays_a_link(site: Site) -> None:
    tree = site.tree("""\
FROM busybox
RUN mkdir /d && touch /d/a /d/b && ln -s a /d/link && ln /d/b /d/hard
RUN rm -r /d/a && rm -rf /home && mkdir /home && touch /home/new
""")

    assert "d/a" not in tree
    assert tree["d/link"].entry.linkname == "a"
    assert {tree["d/b"].entry.type, tree["d/hard"].entry.type} == {tarfile.REGTYPE, tarfile.LNKTYPE}
    assert "home/new" in tree


def test_global_arguments_choose_the_base(site: Site) -> None:
    tree = site.tree(
        "ARG BASE=nothing\nFROM ${BASE} AS base\nFROM base\nARG BASE\nRUN echo $BASE > /base\n",
        "--build-arg=BASE=busybox",
    )

    assert tree["base"].content == b"busybox\n"


def test_platform_arguments_name_this_machine(site: Site) -> None:
    tree = site.tree(
        "FROM busybox\nARG TARGETOS\nARG TARGETARCH\nRUN echo $TARGETOS/$TARGETARCH >/p\n"
    )

    site.build("FROM busybox\n", "--tag=here")
    image = site.inspect("here")
    assert tree["p"].content.decode().strip() == f"{image['Os']}/{image['Architecture']}"


def test_a_variable_whose_name_expands_to_nothing_is_in_the_image_only(site: Site) -> None:
    config = site.config("FROM busybox\nENV $NONE=a B=b\nRUN test $B = b")

    assert config["Env"][1:] == ["=a", "B=b"]


def test_a_step_leaves_the_mount_points_that_its_base_lacks(site: Site) -> None:
    tree = site.tree("FROM scratch\nCOPY --from=busybox /bin /bin\nRUN echo a > /a")

    assert {name for name in tree if "/" not in name} == {"a", "bin", "dev", "proc", "sys"}
