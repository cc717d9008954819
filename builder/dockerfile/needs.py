"""The needs of a build while it is lowered: collected, each once, in the order of appearance."""

from builder.dockerfile.request import GitNeed, HttpNeed, ImageNeed, Needs


class NeedList:
    """Collects what the outside has to resolve before lowering can end."""

    def __init__(self) -> None:
        """Begin with no needs."""
        self._images: dict[object, ImageNeed] = {}
        self._urls: dict[object, HttpNeed] = {}
        self._gits: dict[object, GitNeed] = {}

    def image(self, need: ImageNeed) -> None:
        """Add an image, unless it is needed already."""
        self._images.setdefault((need.name, need.platform), need)

    def url(self, need: HttpNeed) -> None:
        """Add a URL, unless it is needed already."""
        self._urls.setdefault(need.url, need)

    def git(self, need: GitNeed) -> None:
        """Add a ref; of one that is needed already, perhaps its time too."""
        known = self._gits.setdefault((need.remote, need.ref), need)
        if need.wants_time:
            self._gits[need.remote, need.ref] = known._replace(wants_time=True)

    def missing(self) -> Needs | None:
        """Give what was collected; None if nothing was."""
        if not (self._images or self._urls or self._gits):
            return None
        images, urls, gits = self._images, self._urls, self._gits
        return Needs(tuple(images.values()), tuple(urls.values()), tuple(gits.values()))
