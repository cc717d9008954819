"""COPY and ADD: one vertex of file actions over the stage's root, with the parts that it reads."""

from builder.dockerfile import history
from builder.dockerfile.expansion import expanded, expanded_document, shown
from builder.dockerfile.inputs import Inputs
from builder.dockerfile.instructions import Add, Copy
from builder.dockerfile.modes import is_mode
from builder.dockerfile.naming import upper_keyword
from builder.dockerfile.paths import clean, destination
from builder.dockerfile.remote import (
    RemoteOptions,
    download_name,
    git_of,
    git_vertex,
    http_vertex,
    is_url,
)
from builder.dockerfile.rules import COPY_IGNORED_FILE, LINK_DROPPED
from builder.dockerfile.scope import Files, Scope
from builder.dockerfile.state import StageState
from builder.errors import DockerfileError
from builder.graph import ops
from builder.graph.vertex import Input, Selector, Vertex, has_wildcards
from builder.values import NamedTuple

_PIVOT = "/./"


class _Plan(NamedTuple):
    """A COPY or ADD with its words expanded; `source` is None for ADD and the build context."""

    instruction: Copy | Add
    sources: tuple[str, ...]
    dest: str
    target: str
    chown: str
    chmod: str
    checksum: str
    files: Files
    name: str

    @property
    def is_add(self) -> bool:
        return isinstance(self.instruction, Add)

    @property
    def owner(self) -> ops.Owner | None:
        if not self.chown:
            return None
        user, colon, group = self.chown.partition(":")
        return ops.Owner(user, group if colon else None)

    @property
    def has_several_sources(self) -> bool:
        return len(self.sources) + len(self.instruction.heredocs) > 1


def copy(instruction: Copy | Add, state: StageState, scope: Scope) -> StageState:
    """Lower a COPY or ADD to a vertex over the root, or under `--link` beside it."""
    state = state._replace(step=state.step + 1)
    text = upper_keyword(shown(instruction.original, state, scope))
    plan = _plan(instruction, state, scope, scope.name(state, text))
    _check(plan, scope)
    is_linked = instruction.link and not plan.chmod
    inputs = Inputs(Vertex(ops.Scratch()) if is_linked else state.root)
    op = ops.Files(_actions(plan, inputs, state, scope), scope.request.is_strict)
    vertex = _vertex(op, inputs.done(), plan.name, plan, scope)
    if is_linked:
        stacked = (Input(state.root), Input(vertex))
        vertex = _vertex(ops.Merge(), stacked, scope.name(state, f"LINK {text}"), plan, scope)
    return state.layered(vertex, _created_by(plan))


def _plan(instruction: Copy | Add, state: StageState, scope: Scope, name: str) -> _Plan:
    def word(text: str) -> str:
        return expanded(text, state, scope, instruction.span)

    files = scope.context
    if instruction.from_name:
        files = scope.find(instruction.from_name, instruction.span)
    dest = word(instruction.dest)
    return _Plan(
        instruction,
        tuple(map(word, instruction.sources)),
        dest,
        destination(dest, state.workdir),
        word(instruction.chown),
        word(instruction.chmod),
        word(instruction.checksum),
        files,
        name,
    )


def _check(plan: _Plan, scope: Scope) -> None:
    span = plan.instruction.span
    if plan.chmod and not is_mode(plan.chmod):
        raise DockerfileError(
            f"invalid chmod parameter: '{plan.chmod}'. it should be octal string and between 0"
            " and 07777",
            fix="write digits like 0755, or a symbolic mode like u=rwX,go=rX",
            span=span,
            word=plan.instruction.chmod,
        )
    if plan.instruction.link and plan.chmod:
        scope.checks.report(LINK_DROPPED, "--link has no effect together with --chmod", span)
    if plan.checksum and len(plan.sources) != 1:
        raise DockerfileError(
            "checksum can't be specified for multiple sources",
            fix="write one ADD for each source",
            span=span,
            word="--checksum",
        )
    if plan.checksum and not (is_url(plan.sources[0]) or git_of(plan.sources[0], span)):
        raise DockerfileError(
            "checksum requires HTTP(S) or Git sources",
            fix="drop --checksum: local files are known by their content",
            span=span,
            word="--checksum",
        )


def _actions(
    plan: _Plan, inputs: Inputs, state: StageState, scope: Scope
) -> tuple[ops.Action, ...]:
    actions: list[ops.Action] = [_copied(source, plan, inputs, scope) for source in plan.sources]
    for heredoc in plan.instruction.heredocs:
        content = heredoc.content
        if heredoc.is_expanded:
            content = expanded_document(content, state, scope, plan.instruction.span)
        actions.append(ops.Write(content, heredoc.name, plan.target, plan.owner, plan.chmod))
    return tuple(actions)


def _copied(source: str, plan: _Plan, inputs: Inputs, scope: Scope) -> ops.Copy:
    span = plan.instruction.span
    git = git_of(source, span)
    if git is None and not is_url(source):
        return _copied_path(source, plan, inputs, scope)
    if isinstance(plan.instruction, Copy):
        kind = "URL" if git is None else "git ref"
        raise DockerfileError(
            f"source can't be a {kind} for COPY", fix="use ADD", span=span, word=source
        )
    options = RemoteOptions(plan.checksum, plan.instruction.keep_git_dir, plan.name)
    if git is not None:
        number = inputs.whole(git_vertex(git, options, scope.resolution, span))
        return _action(plan, number, "/")._replace(allow_wildcard=False, is_context=False)
    number = inputs.whole(http_vertex(source, options, scope.resolution, span))
    action = _action(plan, number, f"/{download_name(source)}")
    unpack: ops.Unpack = "archives" if plan.instruction.unpack else "never"
    return action._replace(allow_wildcard=False, is_context=False, unpack=unpack)


def _copied_path(source: str, plan: _Plan, inputs: Inputs, scope: Scope) -> ops.Copy:
    instruction = plan.instruction
    if plan.files is scope.context:
        _report_ignored(source, plan, scope)
    before, pivot, after = source.partition(_PIVOT)
    path = clean(source)
    is_pattern = has_wildcards(source)
    parents = instruction.parents
    if parents and pivot and not after.strip("/"):
        raise DockerfileError(
            f'failed to calculate checksum of ref: "{clean(before)}": not found',
            fix="name what is to be copied after /./",
            span=instruction.span,
            word=source,
        )
    selector = Selector(path, is_pattern, instruction.exclude, not is_pattern, is_deep=parents)
    number = inputs.part(plan.files.vertex, selector)
    if parents and pivot and clean(before) != "/":
        path = f"{clean(before)}/.{clean(after)}"
    action = _action(plan, number, path)
    return action._replace(
        parents=parents,
        exclude=instruction.exclude,
        unpack=_unpack(instruction),
        is_context=plan.files.is_context,
        is_required=not is_pattern,
    )


def _action(plan: _Plan, number: int, source: str) -> ops.Copy:
    return ops.Copy(
        number,
        source,
        plan.target,
        plan.owner,
        plan.chmod,
        dest_is_directory=plan.has_several_sources,
    )


def _vertex(op: ops.Op, inputs: tuple[Input, ...], name: str, plan: _Plan, scope: Scope) -> Vertex:
    return Vertex(
        op,
        inputs,
        name=name,
        span=plan.instruction.span,
        is_ignoring_cache=scope.is_ignoring_cache,
    )


def _unpack(instruction: Copy | Add) -> ops.Unpack:
    if isinstance(instruction, Copy) or instruction.unpack is False:
        return "never"
    return "archives"


def _created_by(plan: _Plan) -> str:
    flags: list[tuple[str, str | None]] = []
    if plan.instruction.parents:
        flags.append(("parents", None))
    flags += [(name, v) for name, v in (("chown", plan.chown), ("chmod", plan.chmod)) if v]
    documents = (f"<<{heredoc.name}" for heredoc in plan.instruction.heredocs)
    words = (*plan.sources, *documents, plan.dest)
    keyword = "ADD" if plan.is_add else "COPY"
    return history.copy(keyword, flags, words) + history.LAYER_SUFFIX


def _report_ignored(source: str, plan: _Plan, scope: Scope) -> None:
    if scope.is_ignored is None or not scope.is_ignored(clean(source)[1:]):
        return
    verb = "Add" if plan.is_add else "Copy"
    name = clean(source) if source.startswith("/") else clean(source)[1:] or "."
    scope.checks.report(
        COPY_IGNORED_FILE,
        f"Attempting to {verb} file {history.go_quote(name)} that is excluded by .dockerignore",
        plan.instruction.span,
    )
