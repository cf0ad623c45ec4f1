"""Keep a forest in one npz file without pickle, and that file in the model.tar.gz SageMaker expects."""

import gzip
import hashlib
import io
import json
import tarfile
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, fields
from os import PathLike
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from treeline.core.errors import ModelMismatchError
from treeline.forest.forest import Provenance, RandomCutForest
from treeline.forest.growth import LEAF, Trees
from treeline.forest.kernels import KernelName

FORMAT = "treeline-forest"
FORMAT_VERSION = 1
MEMBER = "forest.npz"  # the forest's name inside model.tar.gz

_DTYPES = {
    "roots": np.int32,
    "boxes": np.float32,
    "cut_dims": np.int32,
    "cut_values": np.float32,
    "lefts": np.int32,
    "masses": np.int32,
}

# What reading a damaged or foreign file raises, found by damaging ten thousand of them.
_DAMAGE = (
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    RuntimeError,  # zipfile: encrypted, or NotImplementedError: another compression
    SyntaxError,  # numpy reads an array's header as Python
    tokenize.TokenError,
)


def fingerprint(forest: RandomCutForest) -> str:
    """SHA-256 of what decides the scores; two forests with the same one score alike."""
    return _digest(_stored(forest.trees))


def _digest(arrays: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for name in _DTYPES:
        array = arrays[name]
        digest.update(f"{name}:{array.shape};".encode())
        digest.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()


def _stored(trees: Trees) -> dict[str, Any]:
    """The arrays of a file: a box has its highest values as they are, in memory they are negated."""
    boxes = trees.boxes.copy()
    _negate_highs(boxes)
    return {name: boxes if name == "boxes" else getattr(trees, name) for name in _DTYPES}


def _negate_highs(boxes: NDArray[np.float32]) -> None:
    """In place, from the file's form to memory's or back; exact, so a forest's bytes survive the way there and back."""
    np.negative(boxes[:, 1::2], out=boxes[:, 1::2])


def save(forest: RandomCutForest, file: str | PathLike[str] | IO[bytes]) -> None:
    """Write the forest as npz; the same forest gives the same bytes."""
    arrays = _stored(forest.trees)
    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "fingerprint": _digest(arrays),
        "provenance": asdict(forest.provenance),
    }
    # A file object, because numpy would append `.npz` to a path that lacks it.
    if isinstance(file, str | PathLike):
        with open(file, "wb") as stream:
            np.savez_compressed(stream, header=np.array(json.dumps(header, sort_keys=True)), **arrays)
    else:
        np.savez_compressed(file, header=np.array(json.dumps(header, sort_keys=True)), **arrays)


def load(file: str | PathLike[str] | IO[bytes], *, kernel: KernelName = "auto") -> RandomCutForest:
    """Read a forest that `save` wrote; nothing in the file is executed. `kernel` as in `kernels.kernel_named`.

    Raises:
        ModelMismatchError: Not such a file, of another format version, damaged, or not a forest.
        OSError: The file cannot be opened.
    """
    try:
        with np.load(file, allow_pickle=False) as archive:
            header = _header(archive)
            arrays = {name: archive[name] for name in _DTYPES}
    except _DAMAGE as error:
        raise ModelMismatchError(f"not a saved forest: {error}") from error
    for name, dtype in _DTYPES.items():
        if arrays[name].dtype != dtype:
            raise ModelMismatchError(f"a forest's {name} are {np.dtype(dtype)}, found {arrays[name].dtype}")
    _check_structure(Trees(**arrays))
    try:
        provenance = Provenance(**{f.name: int(header["provenance"][f.name]) for f in fields(Provenance)})
    except (KeyError, TypeError, ValueError) as error:
        raise ModelMismatchError(f"the forest does not say what it was fitted with: {error}") from error
    if _digest(arrays) != header.get("fingerprint"):
        raise ModelMismatchError("the forest does not match its fingerprint: the file was changed or damaged")
    _negate_highs(arrays["boxes"])
    return RandomCutForest(Trees(**arrays), provenance, kernel=kernel)


def _header(archive: Any) -> dict[str, Any]:
    header = json.loads(str(archive["header"]))
    if header.get("format") != FORMAT:
        raise ModelMismatchError(f"not a saved forest: its format is {header.get('format')!r}")
    if header.get("format_version") != FORMAT_VERSION:
        raise ModelMismatchError(
            f"forest format version {header.get('format_version')!r} found, this code reads {FORMAT_VERSION}"
        )
    return dict(header)


def _check_structure(trees: Trees) -> None:
    """Refuse arrays, as stored, that would lead a walk out of bounds or around in circles."""
    nodes = trees.masses.size
    if any(getattr(trees, name).ndim != (2 if name == "boxes" else 1) for name in _DTYPES):
        raise ModelMismatchError("the forest's arrays have the wrong number of dimensions")
    if trees.boxes.shape[1] % 2 or not trees.boxes.shape[1] or not len(trees.roots):
        raise ModelMismatchError(f"a forest needs roots and boxes with two sides a feature, got {trees.boxes.shape}")
    if any(len(a) != nodes for a in (trees.boxes, trees.cut_dims, trees.cut_values, trees.lefts)):
        raise ModelMismatchError("the forest's arrays differ in length")
    inner = np.flatnonzero(trees.cut_dims != LEAF)
    lefts = trees.lefts[inner]
    features = trees.boxes.shape[1] // 2
    sound = (
        ((trees.cut_dims >= LEAF) & (trees.cut_dims < features)).all()
        and ((lefts > inner) & (lefts + 1 < nodes)).all()
        and ((trees.roots >= 0) & (trees.roots < nodes)).all()
        # Each node is a root or one inner node's child, exactly once: so the walk meets trees only.
        and np.array_equal(np.sort(np.concatenate((trees.roots, lefts, lefts + 1))), np.arange(nodes))
        and (trees.masses >= 1).all()
        and (trees.masses[trees.roots] == trees.masses[trees.roots[0]]).all()
        and np.isfinite(trees.boxes).all()
        and (trees.boxes[:, 1::2] >= trees.boxes[:, 0::2]).all()
        and np.isfinite(trees.cut_values).all()
    )
    if not sound:
        raise ModelMismatchError("the forest's nodes do not form trees")


def write_model_tar(forest: RandomCutForest) -> bytes:
    """model.tar.gz holding `forest.npz`; the same forest gives the same bytes, so its hash identifies it."""
    npz = io.BytesIO()
    save(forest, npz)
    member = tarfile.TarInfo(MEMBER)
    member.size = npz.tell()
    npz.seek(0)
    compressed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=compressed, mode="wb", filename="", mtime=0, compresslevel=1) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        tar.addfile(member, npz)
    return compressed.getvalue()


def read_model_tar(content: bytes, *, kernel: KernelName = "auto") -> RandomCutForest:
    """The forest in a model.tar.gz, see `load`; raises ModelMismatchError where it holds none that `load` reads."""
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as tar:
            # Read in memory, never extracted: a member's path cannot lead anywhere.
            for member in tar:
                if member.isfile() and member.name.removeprefix("./") == MEMBER:
                    stream = tar.extractfile(member)
                    assert stream is not None  # noqa: S101 - isfile() above
                    return load(io.BytesIO(stream.read()), kernel=kernel)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise ModelMismatchError(f"not a model.tar.gz: {error}") from error
    raise ModelMismatchError(f"model.tar.gz holds no {MEMBER}")
