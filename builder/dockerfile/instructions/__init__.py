"""The instructions of a Dockerfile as typed values, one module each; `Instruction` is their union.

All begin with `span` (keyword to the end of the last line, bodies of heredocs included), `keyword`
as it was spelt, `original` (the instruction on one line: continuations joined, flags in it, no
bodies of heredocs) and `comments` (the comment lines above it, without `#` and surrounding blanks,
back to an empty comment or another instruction). Strings are as written unless a docstring says
otherwise: expansion happens while lowering.
"""

from builder.dockerfile.instructions.add import Add
from builder.dockerfile.instructions.arg import Arg
from builder.dockerfile.instructions.cmd import Cmd
from builder.dockerfile.instructions.copy import Copy
from builder.dockerfile.instructions.entrypoint import Entrypoint
from builder.dockerfile.instructions.env import Env
from builder.dockerfile.instructions.expose import Expose
from builder.dockerfile.instructions.from_ import From
from builder.dockerfile.instructions.healthcheck import Healthcheck
from builder.dockerfile.instructions.heredoc import Heredoc
from builder.dockerfile.instructions.label import Label
from builder.dockerfile.instructions.maintainer import Maintainer
from builder.dockerfile.instructions.onbuild import Onbuild
from builder.dockerfile.instructions.run import Run
from builder.dockerfile.instructions.shell import Shell
from builder.dockerfile.instructions.stopsignal import Stopsignal
from builder.dockerfile.instructions.user import User
from builder.dockerfile.instructions.volume import Volume
from builder.dockerfile.instructions.workdir import Workdir

Instruction = (
    Add
    | Arg
    | Cmd
    | Copy
    | Entrypoint
    | Env
    | Expose
    | From
    | Healthcheck
    | Label
    | Maintainer
    | Onbuild
    | Run
    | Shell
    | Stopsignal
    | User
    | Volume
    | Workdir
)

__all__ = [
    "Add",
    "Arg",
    "Cmd",
    "Copy",
    "Entrypoint",
    "Env",
    "Expose",
    "From",
    "Healthcheck",
    "Heredoc",
    "Instruction",
    "Label",
    "Maintainer",
    "Onbuild",
    "Run",
    "Shell",
    "Stopsignal",
    "User",
    "Volume",
    "Workdir",
]
