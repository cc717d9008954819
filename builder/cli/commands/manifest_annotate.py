"""`builder manifest annotate`: say more of one manifest of a list."""

from builder.cli.options import Argument, Arguments, Command, multiple, value
from builder.cli.session import Session
from builder.cli.values import key_value

COMMAND = Command(
    name="manifest annotate",
    summary="Say for which platform a manifest of a list is, or annotate it.",
    arguments=(Argument("LIST"), Argument("MANIFEST")),
    options=(
        multiple("--annotation", "KEY=VALUE", help="an annotation"),
        value("--arch", "ARCH", help="the architecture"),
        value("--os", "OS", help="the operating system"),
        value("--os-version", "VERSION", help="the version of the operating system"),
        value("--variant", "VARIANT", help="the variant of the architecture"),
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Change the list."""
    from builder.engine.manifest_lists import Annotation

    name, manifest = arguments.words
    annotation = Annotation(
        arguments.value("os") or "",
        arguments.value("arch") or "",
        arguments.value("variant") or "",
        arguments.value("os-version") or "",
        tuple(key_value(text, "--annotation") for text in arguments.values("annotation")),
    )
    with session.engine() as engine:
        engine.annotate_manifest(name, manifest, annotation)
    return 0
