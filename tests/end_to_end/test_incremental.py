"""An incremental build gives what a build from nothing gives, whatever was edited in between."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.end_to_end.site import Site

pytestmark = pytest.mark.namespaces

FILES = ("a.txt", "b.txt", "d/c.txt", "d/e/f.sh", "d/e/g")
CONTENTS = st.sampled_from(["", "one\n", "two\n", "three\n" * 50_000])
MODES = st.sampled_from([0o644, 0o755, 0o600])
INSTRUCTIONS = st.sampled_from([
    "COPY . /all/",
    "COPY d /d",
    "COPY d/ /all/d/",
    "COPY *.txt /texts/",
    "COPY a* b* /texts/",
    "COPY --chmod=700 d /private",
    "COPY --chown=7:8 d /owned/",
    "COPY --link d /linked/",
    "COPY --parents d/e/* /parents/",
    "COPY --exclude=*.sh d /excluded",
    "COPY <<END /here\nsaid $A\nEND",
    "RUN echo $A $B >> /log",
    "RUN cat /texts/* /all/*.txt /d/*.txt > /sum 2>/dev/null || true",
    "RUN ls -lnR /all /d /linked 2>/dev/null | grep -v : | awk '{print $1, $3, $4, $NF}' > /list",
    "RUN rm -rf /all/d /texts/a.txt",
    "RUN mkdir -p /d && ln -sf a /d/link && ln -f /bin/busybox /d/hard",
    "RUN mv /d /moved-$$A 2>/dev/null; true",
    "RUN chmod -R g+w /all /owned 2>/dev/null; true",
    "RUN --mount=target=/ctx cat /ctx/*.txt > /mounted 2>/dev/null; true",
    "RUN --mount=source=d,target=/ctx ls -R /ctx > /mounted-list",
    "WORKDIR /work/deep",
    "WORKDIR below",
    "USER 5:6",
    "USER 0",
    "ENV A=image",
    "ENV A=$B$A",
    "ARG B=argument",
    "ARG A",
    "LABEL l=$A",
    'CMD ["run", "it"]',
    "EXPOSE 80",
    "VOLUME /all",
    "FROM busybox",
    "COPY --from=0 / /from-first/",
    "COPY --from=0 /et[c] /etc2/",
])  # fmt: skip
IGNORED = st.sampled_from(["", "*.txt\n", "d/e\n", "**\n!d\n", "d/**/*.sh\n!d/e/f.sh\n"])


class Project(NamedTuple):
    """What a build is made from."""

    files: dict[str, tuple[str, int]]
    lines: tuple[str, ...]
    ignored: str

    @property
    def dockerfile(self) -> str:
        return "\n".join(("ARG A=global", "FROM busybox", *self.lines, ""))


@st.composite
def projects(draw: st.DrawFn) -> Project:
    files = {name: (draw(CONTENTS), draw(MODES)) for name in FILES}
    lines = draw(st.lists(INSTRUCTIONS, min_size=2, max_size=9))
    return Project(files, tuple(lines), draw(IGNORED))


@st.composite
def edits(draw: st.DrawFn, project: Project) -> Project:
    """Change one thing."""
    files, lines = dict(project.files), list(project.lines)
    match draw(st.sampled_from(["content", "mode", "remove", "add", "line", "insert", "ignore"])):
        case "content":
            name = draw(st.sampled_from(FILES))
            files[name] = (draw(CONTENTS), files.get(name, ("", 0o644))[1])
        case "mode":
            name = draw(st.sampled_from(FILES))
            files[name] = (files.get(name, ("", 0))[0], draw(MODES))
        case "remove":
            files.pop(draw(st.sampled_from(["a.txt", "b.txt", "d/e/f.sh"])), None)
        case "add":
            files[draw(st.sampled_from(["z.txt", "d/z"]))] = (draw(CONTENTS), draw(MODES))
        case "line":
            lines[draw(st.integers(0, len(lines) - 1))] = draw(INSTRUCTIONS)
        case "insert":
            lines.insert(draw(st.integers(0, len(lines))), draw(INSTRUCTIONS))
        case _:
            return project._replace(ignored=draw(IGNORED))
    return project._replace(files=files, lines=tuple(lines))


def put(project: Project, context: Path) -> None:
    """Make the context hold exactly the project's files."""
    for path in sorted(context.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif str(path.relative_to(context)) not in project.files:
            path.unlink()
    for name, (content, mode) in project.files.items():
        path = context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != content:
            path.write_text(content)
        path.chmod(mode)
    (context / "d").mkdir(exist_ok=True)
    (context / ".dockerignore").write_text(project.ignored)


def outcome(site: Site, project: Project, context: Path, *options: str) -> object:
    """Build, and give all that must not depend on what is cached; or how the build failed."""
    path = site.directory / "Dockerfile"
    path.write_text(project.dockerfile)
    root, image = site.directory / "root.tar", site.directory / "image.tar"
    done = site._program(
        "build", "--progress=plain", f"--file={path}", f"--output=type=tar,dest={root}",
        f"--output=type=oci,dest={image}", *options, str(context),
    )  # fmt: skip
    if done.returncode != 0:
        assert done.returncode == 1, done.stderr.decode()
        return done.stderr.decode().splitlines()[-2:]
    with tarfile.open(root) as archive:
        tree = [
            (e.name, e.type, e.mode, e.uid, e.gid, e.linkname, content(archive, e)) for e in archive
        ]
    with tarfile.open(image) as archive:
        files = {e.name: content(archive, e) for e in archive}
    [found] = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(files[blob(found)])
    config = json.loads(files[blob(manifest["config"])])
    history = [(h.get("created_by"), h.get("empty_layer")) for h in config["history"]]
    return tree, config["config"], history, len(config["rootfs"]["diff_ids"])


def content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    reader = archive.extractfile(entry) if entry.isreg() else None
    return b"" if reader is None else reader.read()


def blob(descriptor: dict[str, str]) -> str:
    return f"blobs/{descriptor['digest'].replace(':', '/')}"


@pytest.fixture
def clean(
    tmp_path: Path, builder: Callable[..., CompletedProcess[bytes]], busybox_archive: Path
) -> Site:
    """Give a second state directory, whose cache is never used."""
    directory = tmp_path / "clean"
    directory.mkdir()

    def program(*words: str, **options: object) -> CompletedProcess[bytes]:
        return builder(*words, BUILDER_ROOT=str(directory / "state"), **options)

    made = Site(directory, program)
    made.run("load", "--quiet", f"--input={busybox_archive}", "--tag=busybox")
    return made


@settings(
    max_examples=10,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_edits_lead_where_a_clean_build_leads(site: Site, clean: Site, data: st.DataObject) -> None:
    project = data.draw(projects())
    with TemporaryDirectory(dir=site.directory) as folder:
        context = Path(folder)
        for _edit in range(data.draw(st.integers(1, 3))):
            put(project, context)
            outcome(site, project, context)
            project = data.draw(edits(project))
        put(project, context)

        incremental = outcome(site, project, context)

        assert incremental == outcome(clean, project, context, "--no-cache")
