"""Start the program in full, when its answer has to be found out.

What makes a build quicker comes before all that it loads: the bundle of its modules, and the
forerunner. Next to nothing is imported until then.
"""

import gc
import posix

from builder.cli import fast, loading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from builder.engine.forerunner import Forerunner

_OBJECTS_BETWEEN_COLLECTIONS = 50_000
"""Large trees are lists of values, not cycles."""
_BEGINNINGS = ("build", "image", "buildx", "builder")


def start(words: list[str]) -> None:
    """Run a command line as a program; does not return."""
    open_standard_streams()
    gc.disable()
    loading.install()
    forerunner = None
    if is_build(words):
        from builder.cli import bundle

        bundle.install()
        forerunner = guessed_forerunner(words)
    from builder.cli.main import entry

    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    gc.enable()
    entry(forerunner)


def open_standard_streams() -> None:
    """Put /dev/null where a standard stream is closed, lest a file of ours takes its number."""
    for descriptor in range(3):
        try:
            posix.fstat(descriptor)
        except OSError:
            opened = posix.open("/dev/null", posix.O_RDWR)
            if opened != descriptor:
                posix.dup2(opened, descriptor)
                posix.close(opened)


def is_build(words: list[str]) -> bool:
    """Whether a command line seems to be a build's: not another command's with such a word."""
    return "build" in words[:4] and (words[0] in _BEGINNINGS or words[0].startswith("-"))


def guessed_forerunner(words: list[str]) -> "Forerunner | None":
    """Start a forerunner for what the words of a build seem to say; `build` sees if they do."""
    guess = guessed(words[words.index("build") + 1 :])
    if guess is None:
        return None
    try:
        root = fast.root_of(words, "build").decode("utf-8", "surrogateescape")
    except (LookupError, OSError):
        return None
    from builder.engine.forerunner import Forerunner

    return Forerunner.start(*guess, root)


def guessed(words: list[str]) -> tuple[str, str | None] | None:
    """Guess context and Dockerfile of a build, without knowing which options have values.

    The context is taken for the first word if that is no option, else for the last.
    """
    if not words or any(word.startswith(("--check", "--call")) for word in words):
        return None
    dockerfile = None
    for place, word in enumerate(words[:-1], 1):
        if word in {"-f", "--file"}:
            dockerfile = words[place]
        elif word.startswith("--file="):
            dockerfile = word.removeprefix("--file=")
    return words[-1] if words[0].startswith("-") else words[0], dockerfile
