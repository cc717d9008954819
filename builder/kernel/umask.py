"""The process's file creation mask, read without touching it."""


def read_umask() -> int:
    """Read the umask; os.umask would change it under other threads' feet. 0777 if in doubt."""
    try:
        with open("/proc/self/status", "rb") as status:
            for line in status:
                if line.startswith(b"Umask:"):
                    return int(line.split()[1], 8)
    except OSError:
        pass
    return 0o777
