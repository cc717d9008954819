"""Git sources: telling them from URLs and paths, and reading ref, subdirectory and options.

`git://`, `ssh://` and `user@host:path` are always Git; `http(s)://` only if the path ends `.git`.
What to check out stands after `#` as `ref:subdir`, or in the query.
"""

from builder.values import NamedTuple

_QUERY_NAMES = (
    "ref", "tag", "branch", "subdir", "checksum", "commit", "keep-git-dir", "submodules",
    "mtime", "fetch-by-commit",
)  # fmt: skip
_OPTIONAL_VALUES = frozenset({"keep-git-dir", "submodules", "fetch-by-commit"})
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_USER = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
_HOST = _USER | frozenset(".")


class GitSource(NamedTuple):
    """A repository and what of it is meant; an empty ref is the default branch."""

    remote: str
    ref: str = ""
    subdir: str = ""
    checksum: str = ""
    keep_git_dir: bool | None = None
    submodules: bool = True
    has_commit_times: bool = False
    """`mtime=commit`: files are as old as the commit, not as the checkout."""


class InvalidGitSource(ValueError):
    """A text names a Git source, but wrongly; the text says how."""


def git_source(text: str) -> GitSource | None:
    """Read a Git source, or return None if the text is something else.

    Raise InvalidGitSource for contradictory or unknown options. `github.com/…` without a scheme
    is None: it cannot be told from a path.
    """
    remote, _, fragment = text.partition("#")
    remote, _, query = remote.partition("?")
    if not is_git_remote(remote):
        return None
    ref, _, subdir = fragment.partition(":")
    return _with_query(GitSource(remote, ref, _inside(subdir)), query)


def is_git_remote(remote: str) -> bool:
    """Say whether a source without query and fragment is a Git repository."""
    scheme, separator, rest = remote.partition("://")
    if not separator:
        return _is_scp_style(remote)
    host, _, path = rest.partition("/")
    if scheme in {"http", "https"}:
        return bool(host) and path.endswith(".git")
    return scheme in {"git", "ssh"} and bool(host)


def _is_scp_style(remote: str) -> bool:
    user, at, rest = remote.partition("@")
    host, colon, path = rest.partition(":")
    return bool(
        at
        and colon
        and user
        and host
        and path
        and _USER.issuperset(user)
        and _HOST.issuperset(host)
    )


def _with_query(source: GitSource, query: str) -> GitSource:
    options = _options(query)
    for name, value in options.items():
        match name:
            case "ref":
                source = source._replace(ref=_same("ref", source.ref, value))
            case "subdir":
                source = source._replace(subdir=_same("subdir", source.subdir, _inside(value)))
            case "checksum" | "commit":
                source = source._replace(checksum=value)
            case "keep-git-dir":
                source = source._replace(keep_git_dir=_boolean(name, value))
            case "mtime":
                if value not in {"checkout", "commit"}:
                    raise InvalidGitSource(f'invalid mtime value: "{value}"')
                source = source._replace(has_commit_times=value == "commit")
            case "submodules":
                source = source._replace(submodules=_boolean(name, value))
            case _:
                pass
    return _with_named_ref(source, options)


def _with_named_ref(source: GitSource, options: dict[str, str]) -> GitSource:
    tag, branch = options.get("tag", ""), options.get("branch", "")
    if tag and branch:
        raise InvalidGitSource("branch conflicts with tag")
    for prefix, name in (("refs/tags/", tag), ("refs/heads/", branch)):
        if name:
            full = name if name.startswith(prefix) else prefix + name
            source = source._replace(ref=_same("ref", source.ref, full))
    return source


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        value = _unescaped(value)
        if name not in _QUERY_NAMES:
            raise InvalidGitSource(f'unexpected query "{name}"')
        if name in options:
            raise InvalidGitSource(f'query "{name}" has multiple values')
        if not value and name not in _OPTIONAL_VALUES:
            raise InvalidGitSource(f'query "{name}" has no value')
        options[name] = value
    return options


def _same(name: str, before: str, value: str) -> str:
    if before and before != value:
        raise InvalidGitSource(f'{name} conflicts: "{before}" vs "{value}"')
    return value


def _boolean(name: str, value: str) -> bool:
    if value in _TRUE or not value:
        return True
    if value in _FALSE:
        return False
    raise InvalidGitSource(f'invalid {name} value: "{value}"')


def _inside(subdir: str) -> str:
    parts: list[str] = []
    for part in subdir.split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part not in ("", ".", ".."):
            parts.append(part)
    return "/".join(parts)


def _unescaped(value: str) -> str:
    head, *rest = value.replace("+", " ").split("%")
    out = bytearray(head, "utf-8", "surrogateescape")
    for part in rest:
        try:
            out += bytes.fromhex(part[:2])
        except ValueError:
            raise InvalidGitSource(f'invalid URL escape "%{part[:2]}"') from None
        out += part[2:].encode("utf-8", "surrogateescape")
    return out.decode("utf-8", "surrogateescape")
