"""From the options of a build to what lowering takes: one request for each platform."""

import os
from typing import Literal

from builder.dockerfile.request import BuildRequest as LoweringRequest
from builder.engine.inputs import Inputs
from builder.engine.request import BuildRequest
from builder.executors.bench import StepNetwork
from builder.graph.ops import Ulimit
from builder.networks import resolver
from builder.oci.platform import Platform

EPOCH = "SOURCE_DATE_EPOCH"

__all__ = ["LoweringRequest", "lowering_requests", "resolv_conf"]


def lowering_requests(
    request: BuildRequest, inputs: Inputs, host: Platform
) -> tuple[LoweringRequest, ...]:
    """Make one lowering request a platform; the host's if none was given."""
    extra = dict(request.options)
    build_args = (*_from_environment(request), *request.build_args)
    for name, value in request.options:
        if name.startswith("build-arg:"):
            build_args = (*build_args, (name.removeprefix("build-arg:"), value))
    common = LoweringRequest(
        platform=host,
        build_platform=host,
        is_platform_given=bool(request.platforms),
        is_multi_platform=len(request.platforms) > 1,
        target=request.target or "",
        build_args=build_args,
        labels=request.labels,
        context=inputs.main,
        contexts=inputs.named,
        context_epoch_s=inputs.epoch_s,
        network=_network(request.network),
        entitlements=request.entitlements,
        extra_hosts=request.add_hosts,
        shm_size_bytes=request.shm_size_bytes or 64 << 20,
        ulimits=tuple(Ulimit(u.name, u.soft, u.hard) for u in request.ulimits),
        cgroup_parent=request.cgroup_parent or "",
        hostname=extra.get("hostname", ""),
        is_ignoring_cache=request.is_cache_ignored,
        ignoring_cache_for=request.ignored_stages,
        is_strict=request.is_strict,
    )
    return tuple(common._replace(platform=p) for p in request.platforms or (host,))


def resolv_conf(network: StepNetwork) -> bytes:
    """Write the resolver configuration of a step on a network."""
    if network == "host":
        return resolver.host_resolv_conf()
    return resolver.resolv_conf(resolver.host_resolution()).encode()


def _from_environment(request: BuildRequest) -> tuple[tuple[str, str], ...]:
    given = {name for name, _value in request.build_args}
    if EPOCH in os.environ and EPOCH not in given:
        return ((EPOCH, os.environ[EPOCH]),)
    return ()


def _network(text: str) -> Literal["default", "none", "host"]:
    if text == "none":
        return "none"
    return "host" if text == "host" else "default"
