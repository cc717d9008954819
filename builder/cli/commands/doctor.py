"""`builder doctor`: what this machine offers, and what to do about what it lacks."""

from builder.cli.options import Arguments, Command, value
from builder.cli.session import Session

COMMAND = Command(
    name="doctor",
    summary="Check what this machine offers to builds and containers.",
    options=(value("-f", "--format", "FORMAT", help="`json`, or a Go template"),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Print one line a finding; the status is 1 if something needed is missing."""
    from builder.engine.doctor import findings

    found = findings(session.settings.root, session.environ)
    template = arguments.value("format")
    if template:
        from builder.cli.tables import inspect

        shown = [
            {"Subject": f.subject, "Verdict": f.verdict, "What": f.what, "Fix": f.fix}
            for f in found
        ]
        inspect(session, shown, format=template)
    else:
        for finding in found:
            session.print(f"{finding.verdict:<7} {finding.subject}: {finding.what}")
            if finding.fix:
                session.print(f"{'':<7}   fix: {finding.fix}")
    return int(any(finding.verdict == "missing" for finding in found))
