"""What `--output` asks for: a type, a destination, and how the image is to be written.

Spec: the `--output` of docker buildx (comma-separated `key=value`, a bare path, or `-`).
"""

from collections.abc import Callable, Sequence
from typing import Literal, cast, get_args

from builder.errors import UsageError
from builder.exporters.annotation import Annotation, from_attribute
from builder.oci.media import Compression
from builder.oci.reference import Reference, parse_reference
from builder.text import nearest
from builder.values import NamedTuple

OutputType = Literal["oci", "docker", "tar", "local", "image", "cacheonly"]
STDOUT = "-"

_COMPRESSIONS: dict[str, Compression] = {"uncompressed": "none", "gzip": "gzip", "zstd": "zstd"}
_LEVELS = {"gzip": 9, "zstd": 22}


class Output(NamedTuple):
    """One destination of a build. `compression` None means gzip for new layers."""

    type: OutputType
    dest: str = ""
    names: tuple[Reference, ...] = ()
    compression: Compression | None = None
    compression_level: int | None = None
    is_compression_forced: bool = False
    has_oci_types: bool = True
    is_archive: bool = True
    is_split: bool | None = None
    is_rewriting_timestamps: bool = False
    is_deleting: bool = False
    annotations: tuple[Annotation, ...] = ()
    is_pushed: bool = False

    @property
    def is_stdout(self) -> bool:
        """Whether it goes to standard output."""
        return self.dest == STDOUT

    @property
    def needs_layers(self) -> bool:
        """Whether it is made of layer blobs."""
        return self.type in {"oci", "docker", "image"}

    @property
    def needs_root(self) -> bool:
        """Whether it is made of the merged root file system."""
        return self.type in {"tar", "local"}


def parse_output(text: str) -> Output:
    """Read one `--output`; raise UsageError, with the nearest attribute for a misspelt one."""
    fields = _fields(text)
    if fields == [STDOUT]:
        return Output("tar", STDOUT)
    if len(fields) == 1 and "=" not in fields[0]:
        return _checked(Output("local", fields[0]), text)
    pairs = [_pair(field, text) for field in fields]
    kinds = [value for name, value in pairs if name == "type"]
    if len(kinds) != 1:
        raise UsageError(f"the output {text!r} names no type", fix="add type=oci, or another type")
    output = _typed(kinds[0])
    for name, value in pairs:
        if name != "type":
            output = _with_attribute(output, name, value)
    return _checked(output, text)


def check_outputs(outputs: Sequence[Output], *, is_stdout_terminal: bool) -> None:
    """Raise UsageError if two outputs share standard output, or an archive meets a terminal."""
    to_stdout = [output for output in outputs if output.is_stdout]
    if len(to_stdout) > 1:
        raise UsageError(
            "more than one output goes to standard output", fix="give all but one a dest"
        )
    if to_stdout and is_stdout_terminal:
        raise UsageError(
            "an archive would be written to the terminal",
            fix="give the output a dest, or redirect standard output",
        )


def _typed(kind: str) -> Output:
    if kind == "registry":
        return Output("image", is_pushed=True)
    if kind not in get_args(OutputType):
        guess = nearest(kind, get_args(OutputType))
        raise UsageError(
            f"{kind!r} is not an output type",
            fix=f"did you mean {guess}?" if guess else f"use {', '.join(get_args(OutputType))}",
        )
    return Output(cast("OutputType", kind), has_oci_types=kind != "docker")


def _with_attribute(output: Output, name: str, value: str) -> Output:
    if name.startswith("annotation"):
        return output._replace(annotations=(*output.annotations, from_attribute(name, value)))
    setter = _ATTRIBUTES.get(name)
    if setter is None:
        guess = nearest(name, _ATTRIBUTES)
        raise UsageError(
            f"an output has no attribute {name!r}",
            fix=f"did you mean {guess}?" if guess else f"known: {', '.join(sorted(_ATTRIBUTES))}",
        )
    return setter(output, value)


def _checked(output: Output, text: str) -> Output:
    if output.type == "docker" and not output.dest:
        output = output._replace(type="image", has_oci_types=True)
    if output.type in {"oci", "tar"} and not output.dest:
        output = output._replace(dest=STDOUT)
    if output.type == "local" and output.dest in {"", STDOUT}:
        raise UsageError(f"the output {text!r} has no directory", fix="add dest=DIRECTORY")
    if output.type in {"image", "cacheonly"} and output.dest:
        raise UsageError(f"an output of type {output.type} has no dest", fix="leave out dest")
    if output.is_stdout and not output.is_archive:
        raise UsageError("a directory cannot go to standard output", fix="add dest=DIRECTORY")
    check_level(output.compression, output.compression_level)
    return output


def check_level(compression: Compression | None, level: int | None) -> None:
    """Raise UsageError for a level that a compression does not have."""
    limit = _LEVELS.get(compression or "gzip")
    if level is not None and (limit is None or not 0 <= level <= limit):
        raise UsageError(
            f"compression-level={level} does not suit compression={compression or 'gzip'}",
            fix="gzip has levels 0 to 9, zstd 0 to 22",
        )


def _fields(text: str) -> list[str]:
    """Split at commas outside of double quotes; a doubled quote inside stands for one (CSV)."""
    fields, field, is_quoted = [], "", False
    position = 0
    while position < len(text):
        character = text[position]
        if is_quoted and text.startswith('""', position):
            field += '"'
            position += 1
        elif character == '"' and (is_quoted or not field):
            is_quoted = not is_quoted
        elif character == "," and not is_quoted:
            fields.append(field)
            field = ""
        else:
            field += character
        position += 1
    if is_quoted or not text:
        raise UsageError(f"the output {text!r} is malformed", fix="write type=TYPE,dest=PATH")
    return [*fields, field]


def _pair(field: str, text: str) -> tuple[str, str]:
    name, equals, value = field.partition("=")
    if not equals:
        raise UsageError(f"{field!r} in the output {text!r} has no value", fix="write key=value")
    return name.strip().lower() if not name.startswith("annotation") else name.strip(), value


def _boolean(name: str, value: str) -> bool:
    if value.lower() in {"true", "1"}:
        return True
    if value.lower() in {"false", "0"}:
        return False
    raise UsageError(f"{name}={value} is neither true nor false", fix=f"write {name}=true")


def _named(output: Output, value: str) -> Output:
    names = tuple(parse_reference(name.strip()) for name in value.split(",") if name.strip())
    return output._replace(names=(*output.names, *names))


def _compressed(output: Output, value: str) -> Output:
    if value not in _COMPRESSIONS:
        raise UsageError(
            f"{value!r} is not a compression", fix=f"use {', '.join(sorted(_COMPRESSIONS))}"
        )
    return output._replace(compression=_COMPRESSIONS[value])


def _levelled(output: Output, value: str) -> Output:
    try:
        return output._replace(compression_level=int(value))
    except ValueError:
        raise UsageError(f"compression-level={value} is not a number") from None


def _mode(output: Output, value: str) -> Output:
    if value not in {"copy", "delete"} or output.type != "local":
        raise UsageError(
            f"mode={value} does not suit an output of type {output.type}",
            fix="type=local has mode=copy and mode=delete",
        )
    return output._replace(is_deleting=value == "delete")


def _pushed(output: Output, value: str) -> Output:
    is_pushed = _boolean("push", value)
    if is_pushed and output.type != "image":
        raise UsageError(f"an output of type {output.type} is not pushed", fix="use type=registry")
    return output._replace(is_pushed=is_pushed)


_ATTRIBUTES: dict[str, Callable[[Output, str], Output]] = {
    "dest": lambda output, value: output._replace(dest=value),
    "name": _named,
    "push": _pushed,
    "compression": _compressed,
    "compression-level": _levelled,
    "force-compression": lambda output, value: output._replace(
        is_compression_forced=_boolean("force-compression", value)
    ),
    "oci-mediatypes": lambda output, value: output._replace(
        has_oci_types=_boolean("oci-mediatypes", value)
    ),
    "tar": lambda output, value: output._replace(is_archive=_boolean("tar", value)),
    "platform-split": lambda output, value: output._replace(
        is_split=_boolean("platform-split", value)
    ),
    "rewrite-timestamp": lambda output, value: output._replace(
        is_rewriting_timestamps=_boolean("rewrite-timestamp", value)
    ),
    "mode": _mode,
}
