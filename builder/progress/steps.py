"""The numbers and names of the steps seen so far; shared by all displays."""

from builder.progress.text import Lines


class Step:
    """One step that has begun: its number in the display, its name, its unfinished lines."""

    def __init__(self, number: int, name: str, started_ns: int) -> None:
        """Begin without output."""
        self.number = number
        self.name = name
        self.started_ns = started_ns
        self.streams: dict[str, Lines] = {}
        self.items: dict[str, tuple[int, int]] = {}

    def lines(self, stream: str) -> Lines:
        """Give the line joiner of a stream."""
        return self.streams.setdefault(stream, Lines())


class Steps:
    """Numbers steps in the order in which they are first heard of."""

    def __init__(self) -> None:
        """Start with no step."""
        self._steps: dict[str, Step] = {}

    def begin(self, step: str, name: str, started_ns: int) -> Step:
        """Give a step its number, or its old one with a new start."""
        known = self._steps.get(step)
        number = known.number if known else len(self._steps) + 1
        self._steps[step] = made = Step(number, name, started_ns)
        return made

    def find(self, step: str, time_ns: int) -> Step:
        """Give a step; one that nobody announced gets a number now."""
        known = self._steps.get(step)
        return known or self.begin(step, step, time_ns)
