"""What `run` and `create` accept."""

from builder.cli.options import Option, flag, multiple, value

_PULL = ("missing", "always", "never")

_PROCESS: tuple[Option, ...] = (
    multiple("-a", "--attach", "STREAM", help="attach to stdin, stdout or stderr"),
    value("--cidfile", "FILE", help="write the container ID to FILE"),
    value("--entrypoint", "WORD", help="replace the image's entry point"),
    multiple("-e", "--env", "NAME[=VALUE]", help="set an environment variable"),
    multiple("--env-file", "FILE", help="read environment variables from FILE"),
    multiple("--group-add", "GROUP", help="join one more group"),
    value("--health-cmd", "COMMAND", help="check the container's health by COMMAND"),
    value("--health-interval", "DURATION", help="time between two health checks"),
    value("--health-retries", "NUMBER", help="failures in a row that mean unhealthy"),
    value("--health-start-interval", "DURATION", help="time between checks while starting"),
    value("--health-start-period", "DURATION", help="time for starting in which failures are fine"),
    value("--health-timeout", "DURATION", help="longest duration of a health check"),
    value("-h", "--hostname", "NAME", help="the container's host name"),
    value("--domainname", "NAME", help="the container's NIS domain name"),
    flag("--init", help="run a small init that forwards signals and reaps"),
    flag("-i", "--interactive", help="keep standard input open"),
    multiple("-l", "--label", "KEY[=VALUE]", help="set a label of the container"),
    multiple("--label-file", "FILE", help="read labels from FILE"),
    multiple("--annotation", "KEY=VALUE", help="annotate the container"),
    value("--name", "NAME", help="name the container"),
    flag("--no-healthcheck", help="check no health"),
    value("--platform", "PLATFORM", help="the platform of the image"),
    value("--pull", "POLICY", help="when to pull the image", choices=_PULL),
    flag("-q", "--quiet", help="show no progress of a pull"),
    value("--restart", "POLICY", help="no, on-failure[:N], always or unless-stopped"),
    flag("--rm", help="remove the container when it ends"),
    value("--runtime", "NAME", help="for docker's command lines", is_hidden=True),
    value("--stop-signal", "SIGNAL", help="the signal that asks it to stop"),
    value("--stop-timeout", "SECONDS", help="how long to wait before it is killed"),
    flag("-t", "--tty", help="give the container a terminal"),
    value("-u", "--user", "USER[:GROUP]", help="run as this user"),
    value("-w", "--workdir", "DIR", help="start in this directory"),
    flag("--disable-content-trust", help="for docker's command lines", is_on=True, is_hidden=True),
)

_FILES: tuple[Option, ...] = (
    multiple("--mount", "type=T,…", help="mount a bind, volume, tmpfs or image"),
    flag("--read-only", help="make the root file system read-only"),
    value("--shm-size", "BYTES", help="the size of /dev/shm"),
    value("--storage-opt", "KEY=VALUE", help="for docker's command lines", is_hidden=True),
    multiple("--tmpfs", "DIR[:OPTIONS]", help="mount a tmpfs"),
    multiple("-v", "--volume", "[SOURCE:]DIR[:OPTIONS]", help="mount a volume or a directory"),
    value("--volume-driver", "NAME", help="the driver of new volumes", is_hidden=True),
    multiple("--volumes-from", "CONTAINER", help="mount the volumes of another container"),
)

_NETWORK: tuple[Option, ...] = (
    multiple("--add-host", "HOST:IP", help="add a line to /etc/hosts"),
    multiple("--dns", "IP", help="ask this name server"),
    multiple("--dns-option", "--dns-opt", "OPTION", help="an option of the resolver"),
    multiple("--dns-search", "DOMAIN", help="search names in this domain"),
    multiple("--expose", "PORT", help="expose a port"),
    value("--ip", "IP", help="the container's IPv4 address"),
    value("--ip6", "IP", help="the container's IPv6 address"),
    multiple("--link", "CONTAINER[:ALIAS]", help="know another container by a name"),
    value("--mac-address", "MAC", help="the container's hardware address"),
    multiple("--network", "--net", "NETWORK", help="connect to a network"),
    multiple("--network-alias", "--net-alias", "NAME", help="one more name in the network"),
    multiple("-p", "--publish", "[[IP:]PORT:]PORT[/PROTOCOL]", help="publish a port"),
    flag("-P", "--publish-all", help="publish all exposed ports"),
)

_CONFINEMENT: tuple[Option, ...] = (
    multiple("--cap-add", "CAPABILITY", help="give a capability"),
    multiple("--cap-drop", "CAPABILITY", help="take a capability away"),
    value("--cgroup-parent", "CGROUP", help="put it below this control group"),
    value("--cgroupns", "MODE", help="the cgroup namespace: private or host"),
    multiple("--device", "PATH[:PATH[:rwm]]", help="give access to a device"),
    multiple("--device-cgroup-rule", "RULE", help="a rule of the device control group"),
    value("--gpus", "REQUEST", help="for docker's command lines", is_hidden=True),
    value("--ipc", "MODE", help="the IPC namespace: private, shareable, host, container:X"),
    value("--isolation", "KIND", help="for docker's command lines", is_hidden=True),
    multiple("--log-opt", "KEY=VALUE", help="an option of the log"),
    value("--log-driver", "DRIVER", help="where the log goes: json-file, local or none"),
    value("--pid", "MODE", help="the PID namespace: host, container:X"),
    flag("--privileged", help="give all capabilities and devices"),
    multiple("--security-opt", "OPTION", help="no-new-privileges, seccomp=FILE, …"),
    multiple("--sysctl", "KEY=VALUE", help="set a kernel parameter"),
    multiple("--ulimit", "NAME=SOFT[:HARD]", help="set a resource limit"),
    value("--userns", "MODE", help="the user namespace"),
    value("--uts", "MODE", help="the UTS namespace: host"),
)

_LIMITS: tuple[Option, ...] = (
    value("--blkio-weight", "NUMBER", help="weight of its disk traffic, 10 to 1000"),
    multiple("--blkio-weight-device", "DEVICE:NUMBER", help="the same by device", is_hidden=True),
    value("--cpu-period", "MICROSECONDS", help="the scheduler's period"),
    value("--cpu-quota", "MICROSECONDS", help="processor time in each period"),
    value("-c", "--cpu-shares", "NUMBER", help="weight of its processor time"),
    value("--cpus", "NUMBER", help="how many processors it may use"),
    value("--cpuset-cpus", "LIST", help="which processors it may use"),
    value("--cpuset-mems", "LIST", help="which memory nodes it may use"),
    multiple("--device-read-bps", "DEVICE:BYTES", help="limit reading from a device"),
    multiple("--device-read-iops", "DEVICE:NUMBER", help="limit reads from a device"),
    multiple("--device-write-bps", "DEVICE:BYTES", help="limit writing to a device"),
    multiple("--device-write-iops", "DEVICE:NUMBER", help="limit writes to a device"),
    value("--kernel-memory", "BYTES", help="for docker's command lines", is_hidden=True),
    value("-m", "--memory", "BYTES", help="limit its memory"),
    value("--memory-reservation", "BYTES", help="memory that it keeps under pressure"),
    value("--memory-swap", "BYTES", help="limit memory and swap together; -1: no limit"),
    value("--memory-swappiness", "NUMBER", help="how readily it is swapped, 0 to 100"),
    flag("--oom-kill-disable", help="wait for memory instead of being killed"),
    value("--oom-score-adj", "NUMBER", help="how likely it is killed, -1000 to 1000"),
    value("--pids-limit", "NUMBER", help="how many processes it may have; -1: any number"),
)

CREATE_OPTIONS = (*_PROCESS, *_FILES, *_NETWORK, *_CONFINEMENT, *_LIMITS)

RUN_OPTIONS = (
    *CREATE_OPTIONS,
    flag("-d", "--detach", help="leave it running and print its ID"),
    value("--detach-keys", "KEYS", help="the keys that detach, such as ctrl-p,ctrl-q"),
    flag("--sig-proxy", help="send signals on to the container", is_on=True),
)
