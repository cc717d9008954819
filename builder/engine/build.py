"""Build: from a request to exported images. The order of the steps is the order of the file."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING

from builder.concurrency import Pool, Task
from builder.dockerfile import rules
from builder.dockerfile.lower import Lowered, lower
from builder.dockerfile.parser import Dockerfile, parse
from builder.dockerfile.request import Needs, Pins
from builder.engine import options
from builder.engine.accounting import Accounting
from builder.engine.assemble import Solved, image_result
from builder.engine.bases import BaseImages
from builder.engine.early_layers import EarlyLayers
from builder.engine.forerunner import PARSED
from builder.engine.head_start import head_start
from builder.engine.inputs import Inputs, open_inputs, save_memos
from builder.engine.observer import Observer
from builder.engine.request import BuildRequest, Built, Call
from builder.engine.resolve import Resolver
from builder.engine.secrets import secret_loaders
from builder.engine.step_network import StepNetwork
from builder.engine.steps import reported
from builder.engine.watched import Watched, observed
from builder.errors import DockerfileError, UsageError
from builder.events import Sink
from builder.executors.bench import Bench, StepLimits
from builder.executors.identity import Identities
from builder.executors.worker import Worker
from builder.exporters.annotation import parse_annotation
from builder.exporters.export import export
from builder.exporters.output import Output
from builder.exporters.result import Exported, ImageResult
from builder.graph.ops import Context, Scratch
from builder.graph.vertex import Vertex
from builder.graph.walk import topological, unified
from builder.oci.platform import Platform
from builder.oci.reference import Reference, parse_reference
from builder.solver.solver import Solver
from builder.source import Span, where

if TYPE_CHECKING:
    from builder.engine.local import LocalEngine

STDIN, STDOUT = 0, 1


class Build:
    """One build in one engine. The exit stack holds what must be released at its end."""

    def __init__(self, engine: "LocalEngine", request: BuildRequest, stack: ExitStack) -> None:
        """Keep the request."""
        self._engine = engine
        self._request = request
        self._stack = stack
        self._sink: Sink = engine.sink
        self._is_using_network = False
        self._observer = Observer(self._sink)
        self._unexpected: list[str] = []
        self._network = stack.enter_context(
            StepNetwork(
                engine.store.root,
                is_root=engine.privileges.is_root,
                warn=engine.warn,
                later=engine.later,
            )
        )
        self._pool = stack.enter_context(Pool(engine.settings.jobs))
        self._bases = stack.enter_context(
            BaseImages(
                engine.store,
                engine.token,
                engine.sink,
                is_pulling=request.is_pulling,
                is_offline=request.is_offline,
            )
        )

    def run(self) -> Built:
        """Build and export everything that was asked for."""
        if self._request.call != "build":
            return self._answer(self._request.call)
        inputs, dockerfile = self._load()
        requests = options.lowering_requests(self._request, inputs, self._engine.platform)
        lowered = {r.platform: self._lowered(dockerfile, r, inputs) for r in requests}
        bench = self._bench(inputs)
        account = Accounting(self._engine, self._request, self._observer, self._bases, self._stack)
        with account.kept_if_failed(dockerfile, inputs):
            solved = self._solve(lowered, bench, account)
        self._engine.zygote.dismiss()  # no step will start any more; an export can use the memory
        with self._beside(lambda: account.close(dockerfile, inputs)) as begin:
            solved = account.inlined(solved)
            exported = [self._export(output, solved, begin) for output in self._outputs()]
        self._engine.put_off(lambda: save_memos(inputs))
        account.write_caches([one.root for one in lowered.values()])
        first = next((one for one in exported if one.descriptor), None)
        warnings = [w for one in lowered.values() for w in one.warnings]
        descriptor = first.descriptor if first else None
        return Built(
            digest=descriptor.digest if descriptor else None,
            image_id=first.config_digest if first and len(solved) == 1 else None,
            names=tuple(str(name) for name in self._names()),
            warnings=tuple(dict.fromkeys((*map(_warning_text, warnings), *self._unexpected))),
            descriptor=descriptor,
            steps=_step_names([one.root for one in lowered.values()]),
            watched=self._watched(inputs, exported),
            report=account.report,
            note=account.note,
        )

    @contextmanager
    def _beside(self, work: Callable[[], None]) -> Iterator[Callable[[], None]]:
        """Lend what begins some work, once, in another thread; at its end the block waits for it.

        Where no thread runs yet it is done at once.
        """
        if not self._observer.has_run:
            work()
            yield lambda: None
            return
        tasks: list[Task] = []

        def begin() -> None:
            if not tasks:
                tasks.append(self._pool.submit(work))

        try:
            yield begin
        finally:
            begin()
        tasks[0].result()

    def _watched(self, inputs: Inputs, exported: list[Exported]) -> Watched | None:
        """Tell what must stay as it is for this build to be worth repeating from memory."""
        request = self._request
        is_more = request.is_pulling or request.is_cache_ignored or request.ignored_stages
        is_pushing = any(output.is_pushed for output in self._outputs())
        has_more = bool(
            is_more
            or is_pushing
            or request.explain
            or request.cache_to
            or request.cache_from
            or request.secrets
        )
        if inputs.watched is None or has_more or self._is_using_network:
            return None
        files = []
        for output in (one.output for one in exported):
            if output.type in ("oci", "docker", "tar") and output.dest not in ("", "-"):
                files.append(observed(output.dest))
            elif output.type != "image":
                return None
        return inputs.watched._replace(files=(*inputs.watched.files, *files))

    def _answer(self, call: Call) -> Built:
        """Answer a question about the Dockerfile instead of building it."""
        from builder.engine import calls

        request = self._request
        with reported(self._sink, "[internal] load build definition from Dockerfile"):
            inputs = open_inputs(request, self._engine.store, self._stack, STDIN)
        try:
            dockerfile = parse(inputs.dockerfile)
        except DockerfileError as error:
            if call == "check" and request.is_call_json:
                return calls.unparsed(error, inputs.dockerfile)
            raise
        requests = options.lowering_requests(request, inputs, self._engine.platform)
        resolve = self._resolver(inputs).resolve
        return calls.answer(call, dockerfile, requests, resolve, is_json=request.is_call_json)

    def _warn(self, text: str, span: Span | None) -> None:
        """Keep what a step warns of for the end; it is an error of a strict build."""
        if self._request.is_strict and span is not None:
            raise DockerfileError(text, fix="correct it, or build without --strict", span=span)
        self._unexpected.append(text if span is None else f"{text} ({where(span)})")

    def _load(self) -> tuple[Inputs, Dockerfile]:
        with reported(self._sink, "[internal] load build definition from Dockerfile"):
            forerunner = self._engine.forerunner
            inputs = open_inputs(self._request, self._engine.store, self._stack, STDIN, forerunner)
            forerunner.wait()
            self._engine.zygote.confirm()
            parsed = parse(inputs.dockerfile, cache_dir=self._engine.store.path(PARSED))
        return inputs, parsed

    def _lowered(
        self, dockerfile: Dockerfile, request: options.LoweringRequest, inputs: Inputs
    ) -> Lowered:
        """Lower, resolve what is missing, lower again, until nothing is."""
        resolver = self._resolver(inputs)
        pins = Pins()
        while True:
            result = lower(dockerfile, request, pins)
            if not isinstance(result, Needs):
                return result
            self._is_using_network = bool(self._is_using_network or result.urls or result.gits)
            pins = resolver.resolve(result, pins)

    def _resolver(self, inputs: Inputs) -> Resolver:
        engine = self._engine
        return Resolver(
            engine.store,
            self._pool,
            self._sink,
            engine.token,
            self._bases,
            pinning=inputs.pinning,
            is_offline=self._request.is_offline,
        )

    def _bench(self, inputs: Inputs) -> Bench:
        engine, request = self._engine, self._request
        return Bench(
            store=engine.store,
            privileges=engine.privileges,
            zygote=engine.zygote,
            sink=self._sink,
            contexts=inputs.trees,
            secrets=secret_loaders(request.secrets),
            agents=self._agents(),
            network=self._network.lease,
            resolv_conf=options.resolv_conf,
            host_gateway=self._network.host_gateway,
            provider=self._bases.provider,
            identities=Identities(engine.store),
            warn=self._warn,
            meanwhile=_load_what_follows,
            limits=StepLimits(request.memory_bytes, request.cpus),
            is_offline=request.is_offline,
            cache_namespace=dict(request.build_args).get("BUILDKIT_CACHE_MOUNT_NS", ""),
        )

    def _agents(self) -> Mapping[str, Callable[[], AbstractContextManager[str]]]:
        if not self._request.agents:
            return {}
        from builder.engine.agents import lenders

        return lenders(self._request.agents, self._engine.store)

    def _solve(
        self, lowered: dict[Platform, Lowered], bench: Bench, account: Accounting
    ) -> list[Solved]:
        early = self._stack.enter_context(
            EarlyLayers(self._engine.store, self._early_output(), lowered.values())
        )
        account.worker = Worker(bench, early.begin)
        account.solver = solver = Solver(
            self._observer.noting(account.cache),
            account.worker,
            pool=self._pool,
            sink=self._observer,
            token=self._engine.token,
        )
        wanted = [one for one in lowered.values() if one.layers or self._needs_roots()]
        results = dict(
            zip(map(id, wanted), solver.solve([one.root for one in wanted]), strict=True)
        )
        early.wait()
        snapshots = self._engine.store.snapshots
        solved = []
        for platform, one in lowered.items():
            result = results.get(id(one))
            is_empty = result is None or result.snapshot is None
            root = None if is_empty else snapshots.get(result.snapshot)  # type: ignore[union-attr,arg-type]
            solved.append(Solved(platform, one, root))
        return solved

    def _early_output(self) -> Output | None:
        """Give the output for which layers are written early: a pushed one sends them meanwhile."""
        outputs = [one for one in self._outputs() if one.needs_layers]
        is_simple = not self._request.is_squashed and not any(one.is_pushed for one in outputs)
        return outputs[0] if outputs and is_simple else None

    def _needs_roots(self) -> bool:
        return any(output.needs_root for output in self._outputs())

    def _outputs(self) -> tuple[Output, ...]:
        """Give every output the tags and annotations given; by default keep an image."""
        outputs = self._request.outputs or (Output("image"),)
        names = self._names()
        annotations = tuple(a for text in self._request.annotations for a in parse_annotation(text))
        return tuple(
            output._replace(
                names=(*output.names, *(n for n in names if n not in output.names)),
                annotations=(*annotations, *output.annotations),
            )
            for output in outputs
        )

    def _names(self) -> tuple[Reference, ...]:
        return tuple(parse_reference(tag) for tag in self._request.tags)

    def _export(self, output: Output, solved: list[Solved], begin: Callable[[], None]) -> Exported:
        """Make and write one output; `begin` is called when only writing is left."""
        if output.is_pushed and not output.names:
            raise UsageError("an image without a name cannot be pushed", fix="add --tag NAME")
        if output.needs_layers:
            for base in (one.lowered.base for one in solved):
                if base is not None:
                    self._bases.fetch(base.resolved, base.manifest)
        exported = self._written(output, solved, begin)
        if output.is_pushed and exported.descriptor is not None:
            for name in output.names:
                self._engine.push(str(name))
        return exported

    def _written(self, output: Output, solved: list[Solved], begin: Callable[[], None]) -> Exported:
        store = self._engine.store
        with reported(self._sink, _export_name(output)) as step:
            is_squashed = self._request.is_squashed
            with head_start(self._engine, output, step):
                images: list[ImageResult] = [
                    image_result(one, output, store, is_squashed=is_squashed) for one in solved
                ]
            self._engine.token.check()
            begin()
            return export(
                output,
                images,
                store,
                stdout=STDOUT,
                epoch_s=solved[0].lowered.epoch_s,
                is_index=len(images) > 1,
            )


def build(engine: "LocalEngine", request: BuildRequest) -> Built:
    """Build what the request says; raise BuilderError, and leave nothing behind that runs."""
    with ExitStack() as stack:
        return Build(engine, request, stack).run()


def _load_what_follows() -> None:
    """Load what a build needs behind its steps, if one of them runs."""
    from builder.engine import account  # noqa: F401
    from builder.store import layering  # noqa: F401


def _step_names(roots: list[Vertex]) -> tuple[str, ...]:
    order = topological(unified(roots))
    return tuple(v.name for v in order if not isinstance(v.op, Context | Scratch))


def _warning_text(warning: rules.Warning) -> str:
    return f"{warning.rule}: {warning.message} ({where(warning.span)})"


def _export_name(output: Output) -> str:
    match output.type:
        case "image":
            return "exporting to image"
        case "oci" | "docker":
            return f"exporting to {output.type} image format"
        case _:
            return f"exporting to {output.type}"
