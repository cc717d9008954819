import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import UsageError
from builder.exporters.annotation import Annotation, chosen, parse_annotation
from builder.exporters.output import Output, check_outputs, parse_output
from builder.oci.platform import Platform
from builder.oci.reference import parse_reference


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("out", Output("local", "out")),
        ("./a b", Output("local", "./a b")),
        ("-", Output("tar", "-")),
        ("type=tar,dest=x.tar", Output("tar", "x.tar")),
        ("type=tar", Output("tar", "-")),
        ("type=oci,dest=x", Output("oci", "x")),
        ("type=oci", Output("oci", "-")),
        ("type=oci,tar=false,dest=d", Output("oci", "d", is_archive=False)),
        ("type=docker,dest=x", Output("docker", "x", has_oci_types=False)),
        ("type=docker", Output("image")),
        ("type=image,push=false", Output("image")),
        ("type=image,push=true", Output("image", is_pushed=True)),
        ("type=registry", Output("image", is_pushed=True)),
        ("type=cacheonly", Output("cacheonly")),
        ("type=local,dest=d,mode=delete", Output("local", "d", is_deleting=True)),
        ('"type=oci","dest=a,b"', Output("oci", "a,b")),
        ('type=oci,dest="quoted"', Output("oci", '"quoted"')),
        (
            "type=oci,dest=x,compression=zstd,compression-level=19,force-compression=1",
            Output(
                "oci",
                "x",
                compression="zstd",
                compression_level=19,
                is_compression_forced=True,
            ),
        ),
        (
            'type=image,"name=a,b:2"',
            Output("image", names=(parse_reference("a"), parse_reference("b:2"))),
        ),
        (
            "type=tar,dest=x,platform-split=false,rewrite-timestamp=true",
            Output("tar", "x", is_split=False, is_rewriting_timestamps=True),
        ),
    ],
)
def test_an_output_is_read(text: str, expected: Output) -> None:
    assert parse_output(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dest=x",
        "type=oci,type=tar",
        "type=nothing",
        "type=oci,dset=x",
        "type=oci,compression=lzma",
        "type=oci,compression-level=99",
        "type=oci,compression=uncompressed,compression-level=1",
        "type=oci,compression-level=x",
        "type=oci,tar=maybe",
        "type=oci,tar=false",
        "type=local",
        "type=oci,dest=x,push=true",
        "type=image,dest=x",
        "type=oci,dest=x,mode=delete",
        "type=oci,annotation.=x",
        "type=oci,annotation-nothing.k=x",
        "type=oci,annotationk=x",
        "type=image,name=UPPER",
        '"type=oci',
        "type=oci,dest",
    ],
)
def test_a_wrong_output_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        parse_output(text)


def test_a_misspelt_attribute_gets_the_nearest_name() -> None:
    with pytest.raises(UsageError) as caught:
        parse_output("type=oci,dset=x")

    assert caught.value.fix == "did you mean dest?"


@given(st.text(max_size=40))
def test_any_text_is_an_output_or_a_usage_error(text: str) -> None:
    try:
        output = parse_output(text)
    except UsageError:
        return

    assert output.type == "local" or output.is_stdout


def test_only_one_output_goes_to_standard_output() -> None:
    check_outputs([Output("tar", "-"), Output("oci", "x")], is_stdout_terminal=False)

    with pytest.raises(UsageError):
        check_outputs([Output("tar", "-"), Output("oci", "-")], is_stdout_terminal=False)


def test_no_archive_goes_to_a_terminal() -> None:
    with pytest.raises(UsageError):
        check_outputs([Output("tar", "-")], is_stdout_terminal=True)


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ("annotation.a.b=c=d", Annotation("manifest", None, "a.b", "c=d")),
        ("annotation-index.k=v", Annotation("index", None, "k", "v")),
        (
            "annotation[linux/arm64].k=v",
            Annotation("manifest", Platform("linux", "arm64"), "k", "v"),
        ),
        (
            "annotation-manifest-descriptor[linux/arm/v7].org.x=v",
            Annotation("manifest-descriptor", Platform("linux", "arm", "v7"), "org.x", "v"),
        ),
        ("annotation-index-descriptor.k=", Annotation("index-descriptor", None, "k", "")),
    ],
)
def test_an_attribute_annotates(attribute: str, expected: Annotation) -> None:
    assert parse_output(f"type=oci,dest=x,{attribute}").annotations == (expected,)


def test_an_annotation_option_names_several_documents() -> None:
    assert parse_annotation("index,manifest[linux/amd64]:k=v:w") == (
        Annotation("index", None, "k", "v:w"),
        Annotation("manifest", Platform("linux", "amd64"), "k", "v:w"),
    )
    assert parse_annotation("a:b=c") == (Annotation("manifest", None, "a:b", "c"),)


def test_an_annotation_is_chosen_by_scope_and_platform() -> None:
    annotations = [
        Annotation("manifest", None, "k", "all"),
        Annotation("manifest", Platform("linux", "arm64", "v8"), "k", "arm"),
        Annotation("index", None, "i", "x"),
    ]

    assert chosen(annotations, "manifest", Platform("linux", "arm64")) == (("k", "arm"),)
    assert chosen(annotations, "manifest", Platform("linux", "amd64")) == (("k", "all"),)
    assert chosen(annotations, "index") == (("i", "x"),)
