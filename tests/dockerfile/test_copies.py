import pytest

from builder.errors import DockerfileError
from builder.graph import ops
from builder.graph.vertex import Selector, Vertex
from tests.dockerfile.builds import COMMIT, REQUEST, created_by, lowered, named

DIGEST = "sha256:" + "0" * 64


def files(text: str) -> tuple[ops.Action, ...]:
    op = lowered(f"FROM base\n{text}").root.op
    assert isinstance(op, ops.Files)
    return op.actions


def only_copy(text: str) -> ops.Copy:
    [action] = files(text)
    assert isinstance(action, ops.Copy)
    return action


def selectors(text: str) -> tuple[Selector, ...] | None:
    return lowered(f"FROM base\n{text}").root.inputs[1].selectors


def test_a_copy_reads_just_its_sources_from_the_context() -> None:
    result = lowered("FROM base\nCOPY a ./b/../c* /d/")

    root, context = result.root.inputs
    assert root.selectors is None
    assert isinstance(context.vertex.op, ops.Context)
    assert context.selectors == (
        Selector("/a"),
        Selector("/c*", has_wildcards=True, is_required=False),
    )


def test_sources_cannot_leave_the_context() -> None:
    assert only_copy("COPY ../../a /b").source == "/a"


def test_destinations_are_absolute_and_keep_their_slash() -> None:
    assert only_copy("COPY a b").dest == "/b"
    assert only_copy("WORKDIR /w\nCOPY a b/").dest == "/w/b/"
    assert only_copy("WORKDIR /w\nCOPY a .").dest == "/w/"


def test_words_are_expanded() -> None:
    action = only_copy("ENV A=x\nCOPY --chown=$A:$A --chmod=75${B:-5} $A /$A")

    assert action == ops.Copy(1, "/x", "/x", ops.Owner("x", "x"), "755")


@pytest.mark.parametrize(
    ("chown", "owner"),
    [("33", ops.Owner("33")), ("33:", ops.Owner("33", "")), (":33", ops.Owner("", "33"))],
)
def test_owners_tell_whether_a_colon_was_written(chown: str, owner: ops.Owner) -> None:
    assert only_copy(f"COPY --chown={chown} a /b").owner == owner


def test_history_shows_flags_that_change_the_result_alone() -> None:
    text = "FROM base\nCOPY --link --parents --exclude=x --chown=1 a b /c/"

    assert created_by(lowered(text)) == ["COPY --parents --chown=1 a b /c/ # buildkit"]


def test_a_pivot_stays_in_the_source_and_not_in_the_selector() -> None:
    text = "COPY --parents a/x/../b/./c/*.py /d/"

    assert only_copy(text).source == "/a/b/./c/*.py"
    assert selectors(text) == (
        Selector("/a/b/c/*.py", has_wildcards=True, is_required=False, is_deep=True),
    )
    assert only_copy("COPY --parents ./a/b /d/").source == "/a/b"


def test_a_pivot_with_nothing_after_it_is_refused() -> None:
    with pytest.raises(DockerfileError, match='"/a": not found'):
        files("COPY --parents a/./ /d/")


def test_excluded_names_are_part_of_what_is_read() -> None:
    text = "COPY --exclude=*.md --exclude=x a /d/"

    assert only_copy(text).exclude == ("*.md", "x")
    assert selectors(text) == (Selector("/a", exclude=("*.md", "x")),)


def test_a_stage_is_read_in_parts_and_keeps_owners() -> None:
    result = lowered("FROM base AS b\nRUN x\nFROM scratch\nCOPY --from=b /a /c")

    assert result.root.inputs[1].selectors == (Selector("/a"),)
    assert isinstance(result.root.inputs[1].vertex.op, ops.Exec)
    assert isinstance(result.root.op, ops.Files)
    assert result.root.op.actions == (ops.Copy(1, "/a", "/c", is_context=False),)


def test_documents_are_written_after_the_copies() -> None:
    text = "FROM base\nENV A=x\nCOPY a <<B <<'C' /d/\n$A \"q\"\nB\n$A\nC\n"

    result = lowered(text)

    assert isinstance(result.root.op, ops.Files)
    assert result.root.op.actions[1:] == (
        ops.Write('x "q"\n', "B", "/d/"),
        ops.Write("$A\n", "C", "/d/"),
    )
    assert created_by(result)[-1] == "COPY a <<B <<C /d/ # buildkit"


def test_a_linked_copy_is_built_on_nothing_and_stacked() -> None:
    result = lowered("FROM base\nCOPY --link a /b\n")

    assert isinstance(result.root.op, ops.Merge)
    base, copied = result.root.inputs
    assert isinstance(base.vertex.op, ops.Image)
    assert isinstance(copied.vertex.op, ops.Files)
    assert isinstance(copied.vertex.inputs[0].vertex.op, ops.Scratch)
    assert result.layers == (result.root,)
    assert result.root.name == "[2/2] LINK COPY --link a /b"
    assert copied.vertex.name == "[2/2] COPY --link a /b"


def test_chmod_cancels_link_with_a_warning() -> None:
    result = lowered("FROM base\nCOPY --link --chmod=644 a /b")

    assert isinstance(result.root.op, ops.Files)
    assert [w.rule for w in result.warnings] == ["LinkWithoutEffect"]


def test_add_unpacks_local_archives_unless_told_otherwise() -> None:
    assert only_copy("ADD a.tar /b").unpack == "archives"
    assert only_copy("ADD --unpack=false a.tar /b").unpack == "never"
    assert only_copy("COPY a.tar /b").unpack == "never"
    assert only_copy("ADD https://x/a.tar /b").unpack == "never"
    assert only_copy("ADD --unpack=true https://x/a.tar /b").unpack == "archives"


def test_a_download_is_named_by_its_path() -> None:
    result = lowered("FROM base\nADD https://example.com/a/b.txt?x=1 /d/")

    source = result.root.inputs[1].vertex
    assert isinstance(source.op, ops.Http)
    assert source.op.filename == "b.txt"
    assert source.op.mtime_s == 7
    assert result.root.inputs[1].selectors is None
    assert isinstance(result.root.op, ops.Files)
    assert result.root.op.actions == (
        ops.Copy(1, "/b.txt", "/d/", allow_wildcard=False, is_context=False),
    )


def test_a_download_with_another_checksum_is_refused() -> None:
    with pytest.raises(DockerfileError, match=f"digest mismatch {DIGEST}: sha256:"):
        lowered(f"FROM base\nADD --checksum={DIGEST} https://example.com/a /d/")


def test_a_repository_is_checked_out_and_copied_whole() -> None:
    result = lowered("FROM base\nADD --keep-git-dir https://example.com/a.git?tag=v1#:sub /d")

    op = result.root.inputs[1].vertex.op
    assert op == ops.Git(
        "https://example.com/a.git",
        COMMIT,
        "sub",
        keep_git_dir=True,
        ref="refs/tags/v1",
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("COPY https://example.com/a /b", "source can't be a URL for COPY"),
        ("COPY https://example.com/a.git /b", "source can't be a git ref for COPY"),
        ("COPY --chmod=9 a /b", "invalid chmod parameter: '9'. it should be octal string"),
        (f"ADD --checksum={DIGEST} a /b", "checksum requires HTTP\\(S\\) or Git sources"),
        (f"ADD --checksum={DIGEST} http://x/a http://x/b /b/", "for multiple sources"),
        ("ADD --checksum=md5:0 http://x/a /b", "unsupported digest algorithm"),
        ("ADD --checksum=sha256:0 http://x/a /b", "invalid checksum digest format"),
        ("ADD --checksum=ffff https://x/a.git /b", "expected checksum to match ffff, got"),
        ("ADD https://x/a.git?x=1 /b", 'unexpected query "x"'),
        (
            "ADD --keep-git-dir=false https://x/a.git?keep-git-dir=1 /b",
            "inconsistent keep-git-dir configuration",
        ),
        ("COPY --from=7 a /b", "invalid stage index 7"),
        ("COPY 'a /b", "unexpected end of statement while looking for matching single-quote"),
    ],
)
def test_nonsense_is_refused_at_its_place(text: str, reason: str) -> None:
    with pytest.raises(DockerfileError, match=reason) as caught:
        lowered(f"FROM base\n{text}")

    assert caught.value.span is not None
    assert caught.value.span.start.line == 2


def test_ignored_sources_are_warned_of() -> None:
    context = REQUEST.context._replace(patterns=("*.md", "sub"))
    text = "FROM base\nCOPY a.md /b\nADD ./sub/x /b\nCOPY ok . /b/\nCOPY --from=base a.md /b"

    result = lowered(text, REQUEST._replace(context=context))

    assert [w.message for w in result.warnings] == [
        'Attempting to Copy file "a.md" that is excluded by .dockerignore',
        'Attempting to Add file "sub/x" that is excluded by .dockerignore',
    ]


def test_exceptions_make_ignored_sources_undecidable() -> None:
    context = REQUEST.context._replace(patterns=("*.md", "!a.md"))

    result = lowered("FROM base\nCOPY b.md /b", REQUEST._replace(context=context))

    assert result.warnings == ()


def test_equal_text_gives_equal_digests_and_other_text_others() -> None:
    texts = ["COPY a /b", "COPY  a  /b", "COPY c /b", "COPY a /d", "COPY --chown=1 a /b"]

    digests = [lowered(f"FROM base\n{text}").root.digest for text in texts]

    assert digests[0] == digests[1]
    assert len(set(digests)) == 4


def test_metadata_does_not_change_what_is_built() -> None:
    plain = lowered("FROM base\nCOPY a /b")

    described = lowered("FROM base\nLABEL x=1\nARG Y=2\nCMD z\nCOPY a /b")

    assert plain.root.digest == described.root.digest


def test_a_context_vertex_is_shared() -> None:
    result = lowered("FROM base\nCOPY a /a\nCOPY b /b")

    def context(vertex: Vertex) -> Vertex:
        return vertex.inputs[1].vertex

    assert context(result.root) is context(result.root.inputs[0].vertex)
    assert named(result, "load build context") is context(result.root)
