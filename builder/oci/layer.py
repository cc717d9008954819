"""A layer of an image: one file-system change, and the blob that carries it."""

from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest
from builder.values import NamedTuple


class Layer(NamedTuple):
    """The diff ID names the plain tar stream, the descriptor the blob it is stored as."""

    diff_id: Digest
    descriptor: Descriptor
