import pytest

from builder.dockerfile.mounts import (
    InvalidMount,
    MountOptions,
    mount_options,
    mount_source,
)


def read(text: str) -> MountOptions:
    return mount_options(text, lambda value: value.replace("$v", "value"))


def test_the_default_is_a_bind() -> None:
    assert read("target=/x") == MountOptions(target="/x")


def test_values_are_expanded() -> None:
    assert read("type=cache,id=$v,dst=/$v").id == "value"


def test_all_options_of_a_secret_are_read() -> None:
    options = read("type=secret,id=a,target=/x,required,mode=0440,uid=1,gid=2,env=E")

    assert options == MountOptions(
        "secret", target="/x", id="a", is_required=True, mode_bits=0o440, uid=1, gid=2, env="E"
    )


@pytest.mark.parametrize(
    ("text", "is_read_only"),
    [("ro", True), ("rw", False), ("readonly=false", False), ("rw=true", False), ("rw=0", True)],
)
def test_writability_has_four_spellings(text: str, is_read_only: bool) -> None:  # noqa: FBT001
    assert read(f"target=/x,{text}").is_read_only is is_read_only


@pytest.mark.parametrize(
    ("text", "size"),
    [("128m", 128 << 20), ("1.5k", 1536), ("7", 7), ("2GiB", 2 << 30), ("3 kb", 3 << 10)],
)
def test_sizes_have_units(text: str, size: int) -> None:
    assert read(f"type=tmpfs,target=/x,size={text}").size_bytes == size


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("type=bnd", 'unsupported mount type "bnd"'),
        ("type=cache,sharing=public", 'unsupported sharing value "public"'),
        ("target=/x,z", "invalid field 'z' must be a key=value pair"),
        ("tarket=/x", "unexpected key 'tarket' in 'tarket=/x'"),
        ("target=/x,size=1m", "unexpected key 'size' for mount type 'bind'"),
        ("target=/x,required", "unexpected key 'required' for mount type 'bind'"),
        ("target=/x,mode=0700", 'mode not allowed for "bind" type mounts'),
        ("type=secret", "invalid secret mount. one of source, target required"),
        ("type=secret,id=a,src=b", "both source and id can't be set"),
        ("type=secret,id=a,from=b", "secret mount should not have a from"),
        ("type=ssh,src=b", "ssh does not support source"),
        ("type=tmpfs,target=/x,sharing=shared", "invalid cache sharing set for tmpfs mount"),
        ("type=cache,target=/x,uid=-1", "invalid value -1 for uid"),
        ("type=cache,target=/x,mode=9", "invalid value 9 for mode"),
        ("target=/x,ro=maybe", "invalid value for ro: maybe"),
        ('"target=/x', 'the quoted field "target=/x does not end'),
    ],
)
def test_nonsense_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidMount) as caught:
        read(text)

    assert str(caught.value).startswith(reason)


def test_a_misspelt_key_is_suggested() -> None:
    with pytest.raises(InvalidMount) as caught:
        read("tarket=/x")

    assert caught.value.fix == "did you mean target?"


def test_the_source_is_found_without_expansion() -> None:
    assert mount_source("type=$T,from=build,target=$X") == "build"
    assert mount_source("type=cache,target=/x") == ""


def test_a_variable_as_source_is_refused() -> None:
    with pytest.raises(InvalidMount, match="'from' doesn't support variable expansion"):
        mount_source("from=$x,target=/x")
