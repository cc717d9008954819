"""Random Dockerfile instructions: what each may say, in plain and in odd ways of writing it."""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

VARIABLES = ("A", "B", "C", "PATHS")
WORDS = (
    "plain", "$A", "${B}tail", "pre${A}.post", '"two words"', "'single $A'", '"in $B quotes"',
    "a\\ b", "\\$A", "a=b", "${A:-default}", "${NONE:-fallback}", "${B:+set}", "${NONE:+unset}",
    '""', "${C:-${A}x}", "é", '"q\\"q"', "\"a'b\"", "tail\\\\", '"back\\\\slash"', "'$'", "$$",
    "x$",
    "${A:+${B:-x}}", '"${A:-a b}"', "${NONE:-'q u'}", "'$'\"$A\"", '"$A"\'$B\'$C', "${A:+}", "#no",
    "${NONE:-$$}", "x\\=y", '"a=$A"', "${A}${B}${C}", "$A$B", "--flag", "[a]", "a'b'c", '"\\$A"',
)  # fmt: skip
NEW_WORDS = (
    "${PATHS#/usr*/}", "${PATHS##*/}", "${PATHS%/*}", "${PATHS%%/*}", "${PATHS/usr/opt}",
    "${PATHS//l/L}", "${NONE-dash}", "${A+plus}", "${PATHS#*l\\*}", "${A-}", "${PATHS//\\//_}",
)  # fmt: skip
_FIND = (
    "find / -xdev -path /proc -prune -o -path /sys -prune -o -path /dev -prune -o -print > /tree"
    " && sort -o /tree /tree"
)
RUNS = (
    "echo $A $B ${C:-none} >> /log",
    "cat /texts/* /all/*.txt /d/*.txt > /sum 2>/dev/null || true",
    _FIND,
    "echo   spaced    out > /tmp/spaced # with a remark",
    "echo '$A' \"$B\" \\$C \\\\ `echo sub` $(echo sub) > /tmp/expanded",
    "printf '%s|' a\\ b 'c  d' > /tmp/words",
    "rm -rf /all/d /texts/a.txt /d/e",
    "mkdir -p /d && ln -sf a /d/link2 && ln -f /bin/busybox /d/hard2",
    "mv /d /moved 2>/dev/null; true",
    "mv /texts /texts2 2>/dev/null; mkdir -p /texts; true",
    "chmod -R g+w /all /owned 2>/dev/null; true",
    "chown -R 3:4 /all 2>/dev/null; true",
    "rm -rf /all; mkdir /all; echo new > /all/new",
    "pwd >> /tmp/pwd; id -u >> /tmp/id; id -g >> /tmp/id; umask >> /tmp/umask",
    "env | grep -v -e ^HOSTNAME= -e ^SHLVL= -e ^PWD= -e ^OLDPWD= | sort > /tmp/env",
    "ls -ln /all /d /texts 2>/dev/null | awk '{print $1, $3, $4, $9}' > /tmp/list",
    "test -e /log && mv /log /log.1; true",
    "mkfifo /tmp/pipe$A 2>/dev/null; ln -s /nowhere /tmp/dangling; true",
    "touch -d @0 /tmp/old; chmod 4711 /tmp/old",
    'echo "a  b" \'c "d"\' > /tmp/quoted',
    "cp -a /etc/passwd /tmp/passwd && rm /etc/passwd && cp -a /tmp/passwd /etc/passwd",
    "cd /tmp && mkdir -p x/y && rm -rf x && echo file > x",
)
"""Commands that leave the same files wherever and whenever they run."""


class Place(NamedTuple):
    """Where an instruction stands: the number of its stage, and what the builder knows."""

    stage: int
    is_new: bool
    escape: str = "\\"


def header(random: Random) -> str:
    return random.choice(("# just a remark", "#no directive", "# syntax-free", "\t# indented"))


def global_arguments(random: Random) -> list[str]:
    return random.sample(
        ["ARG A=global", "ARG BASE=busybox", "ARG B=${A}2", "arg PATHS=/usr/local/lib"],
        random.randint(0, 4),
    )


def from_line(random: Random, number: int) -> str:
    bases = ["busybox", "busybox", "busybox:latest", "${BASE:-busybox}"]
    if number:
        earlier = random.randrange(number)
        bases += [f"s{earlier}"] * 4
    as_word = random.choice(("AS", "as", "As"))
    return f"{random.choice(('FROM', 'FROM', 'from'))} {random.choice(bases)} {as_word} s{number}"


def instruction(random: Random, place: Place) -> str:
    """Write one instruction, now and then in an unusual way."""
    write = random.choice(WRITERS)
    line = write(random, place)
    if "<<" in line or "\n" in line:
        return line.replace("\\", place.escape)
    if random.random() < 0.1:
        keyword, _, rest = line.partition(" ")
        line = f"{keyword.lower()} {rest}"
    if random.random() < 0.12:
        keyword, _, rest = line.partition(" ")
        joint = random.choice(("\\\n  ", "\\  \n", "\\\n# between\n   ", "\\\n\n  "))
        line = f"{keyword} {joint}{rest}"
    if random.random() < 0.06 and not line.lower().startswith(
        ("onbuild", "copy", "add", "maintainer")
    ):
        line = f"ONBUILD {line}"
    if random.random() < 0.05:
        line = line.replace(" ", "\t", 1) + random.choice(("  ", "\t", ""))
    return line.replace("\\", place.escape)


def word(random: Random, place: Place) -> str:
    return random.choice(WORDS + NEW_WORDS if place.is_new and random.random() < 0.4 else WORDS)


def _copy(random: Random, place: Place) -> str:
    flags = [
        flag
        for flag, chance in (
            (random.choice(("--chown=7:8", "--chown=daemon", "--chown=33", "--chown=bin:5")), 0.2),
            (random.choice(("--chmod=700", "--chmod=0644", "--chmod=4755")), 0.15),
        )
        if random.random() < chance
    ]
    if place.is_new:
        flags += [
            flag
            for flag, chance in (("--link", 0.2), ("--parents", 0.15), ("--exclude=*.sh", 0.15))
            if random.random() < chance
        ]
    keyword = "COPY" if random.random() < 0.8 else "ADD"
    if keyword == "ADD":
        flags = [flag for flag in flags if flag != "--parents"]
    source, dest = _paths(random)
    if random.random() < 0.12 and " " not in source:
        return f'{keyword} {" ".join((*flags, ""))}["{source}", "{dest}"]'
    return " ".join((keyword, *flags, source, dest))


def _paths(random: Random) -> tuple[str, str]:
    if random.random() < 0.05:
        odd = ('"sp ace.txt"', "sp*", "'a.txt'", '"a".txt', "x[[]1].txt", "\\a.txt")
        return random.choice(odd), "/q/"
    several = (
        "*.txt", "a* b*", "a.txt d", "d/* b.txt", "?.txt", "[ab].txt", "d/e/* a.txt", "d/*/g *.txt",
        "*/c.txt a.txt", "d/** d", "[^a].txt", "a.tx? d/", "./d/e/../*.txt", "*", "/*.txt", ".h* d",
    )  # fmt: skip
    one_file = (
        "a.txt", "./b.txt", "/d/c.txt", "d/e/../c.txt", "link", "d/e/f.sh", "${NONE:-a}.txt",
        "d//e///g", "../a.txt", "/../../b.txt", "d/up", "hard", "d/hard",
    )  # fmt: skip
    directory = (
        "d", "d/", ".", "d/e", "./d/.", "empty", "dirlink", "dirlink/e", "/", "d/e/..", "./",
        "d//e/", "dirlink/",
    )  # fmt: skip
    source = random.choice((*several, *one_file, *directory))
    into = ("/all/", "/texts/", "/d/", "sub/", "./", "/new/deep/", "/var/spool/", "/d/e/", "$A/")
    if source in several or " " in source:
        return source, random.choice(into)
    if source in directory:
        return source, random.choice((*into, "/all", "/d", "/owned", ".", "/x/y", "/tmp/pre${A}"))
    return source, random.choice((*into, "/all/one", "/here", "name", "/d/named", "/f${A}f"))


def _copy_from(random: Random, place: Place) -> str:
    if not place.stage:
        return _copy(random, place)
    earlier = random.randrange(place.stage)
    source = random.choice((
        "/all /from-all", "/d/ /all/", "/etc/passwd /tmp/", "/et[c] /etc2/", "/tmp/ /tmp/",
        "/texts/ /texts/", "/bin/busybox /bin/again", "/log* /logs/", "/ /whole/", "/work /work",
    ))  # fmt: skip
    flag = random.choice(("", "", " --chown=5:6", " --chmod=755"))
    if place.is_new and random.random() < 0.25:
        flag += " --link"
    name = random.choice(
        (f"s{earlier}", f"S{earlier}" if place.is_new else f"s{earlier}", str(earlier))
    )
    return f"COPY --from={name}{flag} {source}"


def _add_archive(random: Random, _place: Place) -> str:
    name = random.choice(("t.tar", "t.tgz", "no.tar", "t.tar t.tgz", "t.t*"))
    flag = random.choice(("", "", "", "--chown=5:6 ", "--chmod=600 "))
    return f"ADD {flag}{name} {random.choice(('/un/', '/d/', '/all/', '/un/packed/'))}"


def _heredoc(random: Random, place: Place) -> str:
    if not place.is_new:
        return _run(random, place)
    return random.choice((
        "COPY <<END /here\nsaid $A\nEND",
        "COPY <<'END' /there\nliteral $A \\$B\nEND",
        "COPY --chmod=700 <<-END /all/\n\ttabs ${B:-b}\n\tEND",
        "COPY <<one <<two /both/\n1\none\n2\ntwo",
        "RUN <<END\necho $A > /said\ncd /tmp\npwd >> /said\nEND",
        "RUN <<END\n#!/bin/sh\necho script >> /said\nEND",
        "RUN cat <<END > /cat\n$A and \\$B\nEND",
        "RUN cat <<one > /c1 && cat <<two > /c2\n1\none\n2\ntwo",
        "ADD --chown=7:8 <<END a.txt /mixed/\nbody \"q\" 'r' \\\\ $NONE\nEND",
    ))  # fmt: skip


def _run(random: Random, _place: Place) -> str:
    command = random.choice(RUNS)
    if random.random() < 0.15:
        return random.choice((
            'RUN ["/bin/sh", "-c", "echo $A > /exec"]', 'RUN ["touch", "/a b", "/c$A"]',
            'RUN [ "mkdir" , "-p", "/j/\\u0061" ]', 'RUN [ -n "$A" ] || echo none > /none',
        ))  # fmt: skip
    if random.random() < 0.2:
        other = random.choice(RUNS)
        joint = random.choice((" && \\\n    ", "; \\\n  # between\n  ", " ; \\\n\n"))
        return f"RUN {command}{joint}{other}"
    return f"RUN {command}"


def _mounted(random: Random, place: Place) -> str:
    if not place.is_new:
        return _run(random, place)  # older builders leave the mount points in the layer
    mounts = [
        "--mount=target=/ctx cat /ctx/*.txt > /mounted 2>/dev/null; true",
        "--mount=type=bind,source=d,target=/ctx ls -R /ctx > /mounted-list",
        "--mount=type=tmpfs,target=/all,size=1m echo lost > /all/lost; ls /all > /tmp/tmpfs",
        "--mount=type=tmpfs,target=/fresh/mount echo lost > /fresh/mount/lost",
        "--mount=target=/ctx,rw echo x > /ctx/written; ls -A /ctx | sort > /tmp/rw",
        "--mount=type=cache,target=/kept/$A,id=none mkdir -p /out && ls -ld /kept > /dev/null",
    ]
    if place.stage:
        earlier = random.randrange(place.stage)
        mounts.append(f"--mount=from=s{earlier},target=/other ls -A /other | sort > /tmp/other")
    return f"RUN {random.choice(mounts)}"


def _env(random: Random, place: Place) -> str:
    names = random.sample(VARIABLES, random.randint(1, 3))
    if random.random() < 0.2:
        return f"ENV {names[0]} {word(random, place)}  and {word(random, place)}"
    return "ENV " + " ".join(f"{name}={word(random, place)}" for name in names)


def _arg(random: Random, place: Place) -> str:
    names = random.sample(VARIABLES, random.choice((1, 1, 1, 2)))
    if random.random() < 0.4:
        return "ARG " + " ".join(names)
    return "ARG " + " ".join(f"{name}={word(random, place)}" for name in names)


def _label(random: Random, place: Place) -> str:
    names = random.sample(
        ("one", '"two words"', "three.dots/x", "k$A", "'q'"), random.randint(1, 3)
    )
    if random.random() < 0.15:
        return f"LABEL legacy {word(random, place)} rest  of it"
    return "LABEL " + " ".join(f"{name}={word(random, place)}" for name in names)


def _workdir(random: Random, _place: Place) -> str:
    return "WORKDIR " + random.choice(
        ("/work/deep", "below", "../up", "/", "/d", "$A", "/sp ace", "./x/../y", "/all/", "w${A}")
    )


def _user(random: Random, _place: Place) -> str:
    return "USER " + random.choice(("5:6", "0", "root", "daemon", "0:0", "root:bin", "${NONE:-0}"))


def _metadata(random: Random, place: Place) -> str:
    return random.choice((
        f"EXPOSE {random.choice(PORTS)}",
        f"VOLUME {random.choice(('/vol', '/v1 /v2', json_words('/vol', '/v 3'), '$A'))}",
        f"STOPSIGNAL {random.choice(('SIGTERM', '9', 'KILL', 'SIGRTMIN+3', '${NONE:-INT}'))}",
        f"SHELL {random.choice(SHELLS)}",
        f"MAINTAINER {word(random, place)} <x@y>",
        f"HEALTHCHECK {random.choice(HEALTHCHECKS)}",
        f"CMD {random.choice(COMMANDS)}",
        f"ENTRYPOINT {random.choice(COMMANDS)}",
    ))  # fmt: skip


def json_words(*words: str) -> str:
    """Write a JSON array of strings."""
    return f"[{', '.join(f'{chr(34)}{each}{chr(34)}' for each in words)}]"


PORTS = (
    "80", "53/udp 8080", "7000-7003/tcp", "${NONE:-90}", "1 2/TCP", "${NONE:-1-3}/udp", '"99"',
    "${NONE:-80 81/udp}", "80 80/tcp 79",
)  # fmt: skip
SHELLS = (json_words("/bin/sh", "-ec"), json_words("/bin/busybox", "sh", "-c"))
HEALTHCHECKS = (
    "NONE", "none", "CMD true", "--retries=3 --timeout=1m0.5s CMD []",
    "--interval=5m --timeout=3s --retries=2 CMD echo $A || exit 1",
    'CMD ["/bin/true", "$A"]', "--start-period=1m30s cmd  spaced   words",
)  # fmt: skip
COMMANDS = (
    '["run", "it"]', "echo $A  spaced", '["a b", "\\"q\\"", "\\u00e9"]', "[not json]", "[]",
    "['single']", "exec \"$@\" 'x y'",
)  # fmt: skip


def _onbuild(random: Random, place: Place) -> str:
    return "ONBUILD " + random.choice((
        "RUN echo trigger $A >> /triggered", "COPY a.txt /on/", "ENV ON=$A", "WORKDIR /on/work",
        "LABEL on=1", "USER 7", f"ENV B={word(random, place)}",
    ))  # fmt: skip


WRITERS: tuple[Callable[[Random, Place], str], ...] = (
    _copy, _copy, _copy, _copy, _copy_from, _copy_from, _add_archive, _heredoc, _heredoc, _run,
    _run, _run, _run, _mounted, _env, _env, _arg, _label, _workdir, _user, _metadata, _metadata,
    _onbuild,
)  # fmt: skip
