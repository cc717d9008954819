from builder.dockerfile.platforms import automatic_args, cross_platform
from builder.oci.platform import Platform
from tests.dockerfile.builds import AMD64, ARM64, REQUEST


def test_automatic_arguments_tell_of_both_platforms() -> None:
    request = REQUEST._replace(platform=Platform("linux", "arm", "v7"))

    values = automatic_args(request, "")

    assert values["BUILDPLATFORM"] == "linux/amd64"
    assert values["TARGETPLATFORM"] == "linux/arm/v7"
    assert values["TARGETVARIANT"] == "v7"
    assert values["TARGETSTAGE"] == "default"


def test_a_build_argument_wins() -> None:
    request = REQUEST._replace(build_args=(("TARGETARCH", "mine"),))

    assert automatic_args(request, "x")["TARGETARCH"] == "mine"


def test_cross_compilation_shows_where_to() -> None:
    assert cross_platform(AMD64, {"TARGETPLATFORM": "linux/arm64"}) == "->arm64"
    assert cross_platform(AMD64, {"TARGETARCH": "arm", "TARGETVARIANT": "v7"}) == "->arm/v7"
    assert cross_platform(AMD64, {"TARGETPLATFORM": "windows/amd64"}) == "->windows/amd64"
    assert cross_platform(ARM64, {"TARGETPLATFORM": "linux/arm64"}) == ""
    assert cross_platform(ARM64, {}) == ""
