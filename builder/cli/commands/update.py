"""`builder update`: other limits for containers."""

from builder.cli.options import Argument, Arguments, Command, value
from builder.cli.session import Session
from builder.containers.request import RestartRequest

COMMAND = Command(
    name="update",
    summary="Change the limits of containers.",
    options=(
        value("--blkio-weight", "NUMBER", help="weight of its disk traffic, 10 to 1000"),
        value("--cpu-period", "MICROSECONDS", help="the scheduler's period"),
        value("--cpu-quota", "MICROSECONDS", help="processor time in each period"),
        value("-c", "--cpu-shares", "NUMBER", help="weight of its processor time"),
        value("--cpus", "NUMBER", help="how many processors it may use"),
        value("--cpuset-cpus", "LIST", help="which processors it may use"),
        value("--cpuset-mems", "LIST", help="which memory nodes it may use"),
        value("-m", "--memory", "BYTES", help="limit its memory"),
        value("--memory-reservation", "BYTES", help="memory that it keeps under pressure"),
        value("--memory-swap", "BYTES", help="limit memory and swap together; -1: no limit"),
        value("--pids-limit", "NUMBER", help="how many processes it may have; -1: any number"),
        value("--restart", "POLICY", help="no, on-failure[:N], always or unless-stopped"),
    ),
    arguments=(Argument("CONTAINER", maximum=None),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Change each and print the name it was given by."""
    from builder.containers.limits import update

    changes = _changes(arguments)
    with session.engine() as engine:
        for name in arguments.words:
            with session.going_on():
                record = engine.containers.record(name)
                update(engine.containers.place, record, changes, _restart(arguments))
                session.print(name)
    return session.status


def _changes(arguments: Arguments) -> dict[str, object]:
    """Give the changed fields of Resources."""
    from builder.cli.values import decimal, integer, size_bytes

    found: dict[str, object] = {}
    for key, field in (
        ("memory", "memory_bytes"),
        ("memory-swap", "memory_swap_bytes"),
        ("memory-reservation", "memory_reservation_bytes"),
    ):
        if text := arguments.value(key):
            found[field] = -1 if text == "-1" else size_bytes(text)
    for key, field in (
        ("cpu-shares", "cpu_shares"),
        ("cpu-period", "cpu_period_us"),
        ("cpu-quota", "cpu_quota_us"),
        ("pids-limit", "pids"),
        ("blkio-weight", "blkio_weight"),
    ):
        if text := arguments.value(key):
            found[field] = integer(text, f"--{key}")
    for key, field in (("cpuset-cpus", "cpuset_cpus"), ("cpuset-mems", "cpuset_mems")):
        if text := arguments.value(key):
            found[field] = text
    if text := arguments.value("cpus"):
        found["cpus"] = decimal(text, "--cpus")
    return found


def _restart(arguments: Arguments) -> RestartRequest | None:
    from builder.cli.run_request import restart_request

    text = arguments.value("restart")
    return None if text is None else restart_request(text)
