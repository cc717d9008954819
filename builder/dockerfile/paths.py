"""Paths inside images, by text alone: cleaned, never above the root, a directory's slash kept."""


def clean(path: str, base: str = "/") -> str:
    """Join a path to an absolute base and resolve `.`, `..` and double slashes by text."""
    whole = path if path.startswith("/") else f"{base}/{path}"
    parts: list[str] = []
    for part in whole.split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def destination(path: str, workdir: str) -> str:
    """Find where a COPY goes: absolute; it ends with a slash if it was written as a directory."""
    target = clean(path, workdir)
    is_directory = path in ("", ".") or path.endswith(("/", "/."))
    return f"{target}/" if is_directory and target != "/" else target


def base_name(path: str) -> str:
    """Give the last element of a path, `/` or `.` if there is none."""
    if not path:
        return "."
    return path.rstrip("/").rpartition("/")[2] or "/"
