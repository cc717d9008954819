"""All registries of one command: sessions by endpoint, over one transport."""

import threading
from collections.abc import Callable, Mapping
from typing import Self, TypeVar

from builder.concurrency import CancelToken
from builder.errors import (
    AuthenticationError,
    BuilderError,
    NetworkError,
    NotInRegistry,
    RateLimited,
    RegistryError,
)
from builder.oci.reference import Reference
from builder.registry.credentials import Credentials, CredentialStore
from builder.registry.hostfiles import host_rules
from builder.registry.hosts import Endpoint, HostRules
from builder.registry.repository import Repository
from builder.registry.session import Session
from builder.registry.transport import Transport

_Result = TypeVar("_Result")


class Registries:
    """Gives repositories; a context manager that closes the connections."""

    def __init__(
        self,
        environ: Mapping[str, str],
        token: CancelToken,
        *,
        is_verified: bool = True,
        rules: HostRules | None = None,
        credentials: CredentialStore | None = None,
        given: Credentials | None = None,
    ) -> None:
        """Keep what decides; files are read when the first repository is asked for.

        `is_verified` false makes all hosts insecure. `given` stands before all stored credentials.
        """
        self._environ = environ
        self._token = token
        self._is_verified = is_verified
        self._rules = rules
        self._given = given
        self.credentials = credentials or CredentialStore(environ)
        self.transport = Transport(environ, token)
        self._sessions: dict[Endpoint, Session] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Close all connections."""
        self.transport.close()

    @property
    def rules(self) -> HostRules:
        """The rules about hosts."""
        if self._rules is None:
            self._rules = host_rules(self._environ, is_verified=self._is_verified)
        return self._rules

    def repositories(self, reference: Reference) -> tuple[Repository, ...]:
        """Give the places to read an image from: mirrors, then the registry itself."""
        return tuple(map(self._repository, self.rules.endpoints(reference)))

    def destination(self, reference: Reference) -> Repository:
        """Give the place to write an image to."""
        return self._repository(self.rules.endpoints(reference, is_push=True)[0])

    def registry(self, domain: str) -> Session:
        """Give a session with a registry as a whole."""
        return self._session(self.rules.registry(domain))

    def first(
        self, reference: Reference, ask: Callable[[Repository], _Result]
    ) -> tuple[Repository, _Result]:
        """Ask the places of an image one after the other; the error says who said what."""
        repositories = self.repositories(reference)
        errors: list[BuilderError] = []
        for repository in repositories:
            try:
                return repository, ask(repository)
            except RegistryError as error:
                if not repository.endpoint.is_mirror:
                    if errors:
                        raise _joined([*errors, error]) from None
                    raise
                errors.append(error)
        raise _joined(errors)

    def _repository(self, endpoint: Endpoint) -> Repository:
        return Repository(self._session(endpoint))

    def _session(self, endpoint: Endpoint) -> Session:
        with self._lock:
            if endpoint not in self._sessions:
                self._sessions[endpoint] = Session(
                    endpoint,
                    self.transport,
                    lambda: self._given or self.credentials.find(endpoint.credentials),
                    self._token,
                )
            return self._sessions[endpoint]


def _joined(errors: list[BuilderError]) -> RegistryError:
    """Make one error of all; the last one, the registry's own, decides its kind."""
    last = errors[-1]
    what = "; ".join(f"{error.what}" for error in errors)
    for kind in (NetworkError, AuthenticationError, RateLimited, NotInRegistry):
        if isinstance(last, kind):
            return kind(what, fix=last.fix)
    return RegistryError(what, fix=last.fix)
