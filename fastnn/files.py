# SPDX-License-Identifier: BSD-3-Clause
"""Model files: written whole or not at all, and never believed without proof.

A file is in the safetensors format: JSON that says what the network is, then its vectors as raw bytes. No code is in it
and none is run by reading it. Its last 32 bytes, the tensor ``~sha256``, are the digest of every byte before them; they
are checked before anything else is looked at.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._memory import allocate
from .arguments import file_path, number, whole_number
from .composition import described, from_description
from .graph import build
from .losses import loss_from_config
from .optimizers import optimizers
from .parameters import Parameters

if TYPE_CHECKING:
    from .model import Sequential

FORMAT = 1
KEY = "fastnn"
DIGEST = "~sha256"  # sorts last, and as bytes it is stored behind the numbers
DIGEST_BYTES = 32
LONGEST_HEADER = 16 << 20
LONGEST_NAME = 40  # of a file, within that of the one it is written to first


def to_bytes(
    net: Sequential, further: dict[str, Any] | None = None, tensors: dict[str, NDArray[Any]] | None = None
) -> bytes:
    """The file of a network, as bytes; with a further configuration and tensors, which ``load`` does not look at."""
    from hashlib import sha256

    parameters = net._built()
    content = parameters.shared.at_rest(lambda: _unsigned(net, parameters, further or {}, tensors or {}))[
        :-DIGEST_BYTES
    ]
    return content + sha256(content).digest()


def _unsigned(
    net: Sequential, parameters: Parameters, further: dict[str, Any], further_tensors: dict[str, NDArray[Any]]
) -> bytes:
    """The same with a digest of zeros."""
    import json

    import safetensors.numpy

    config: dict[str, Any] = {
        "format": FORMAT,
        "numerics_version": _core.numerics_version,
        "layers": described(net.layers),
        "inputs": parameters.inputs,
        "dtype": net.dtype.name,
        "seed": net.seed,
        "epochs_done": net._epochs_done,
        "scale_targets": net.scale_targets,
        "targets_learned": net._targets_learned,
        "draws": int(parameters.draws[0]),
        "loss": None if net._loss is None else net._loss.config(),
    }
    if net.feature_names is not None:
        config["feature_names"] = list(net.feature_names)
    tensors: dict[str, Any] = {"params": parameters.params}
    if parameters.state.size:
        tensors["state"] = parameters.state
    state, optimizer = net._state, net.optimizer
    if state is not None and optimizer is not None:
        counts = {"step": state.step, "averaged": state.averaged, "product": state.product}
        config["optimizer"] = {"kind": optimizer.name, **counts, **optimizer.config()}
        states = state.array.reshape(len(optimizer.state_names), -1)
        tensors |= {f"optimizer.{name}": states[i] for i, name in enumerate(optimizer.state_names)}
        if state.averaged:
            tensors["average"] = state.average
    tensors |= {**further_tensors, DIGEST: np.zeros(DIGEST_BYTES, np.uint8)}
    content: bytes = safetensors.numpy.save(tensors, {KEY: json.dumps(config | further)})
    return content


def from_bytes(content: bytes, source: str = "these bytes") -> Sequential:
    """The network of a file's bytes; ValueError if one bit of them is not as it was written."""
    import safetensors.numpy

    config = configuration(content, source)
    try:
        return _network(config, safetensors.numpy.load(content))
    except KeyError as error:
        raise ValueError(f"{source} is no model of fastnn: {error} is missing") from error
    except (ValueError, TypeError, AttributeError, safetensors.SafetensorError) as error:
        raise ValueError(f"{source} is no model of fastnn: {error}") from error


def configuration(content: bytes, source: str) -> dict[str, Any]:
    """What the header of a file says, if its bytes are those that were written, in a format that is known."""
    import json
    from hashlib import sha256

    size = _header_size(content[:9], len(content), source)
    view = memoryview(content)
    if sha256(view[:-DIGEST_BYTES]).digest() != content[-DIGEST_BYTES:]:
        raise ValueError(f"{source} is damaged: its bytes are not those that were written (SHA-256 differs)")
    try:
        metadata = json.loads(content[8 : 8 + size])["__metadata__"]
        config: dict[str, Any] = json.loads(metadata[KEY])
        found = config["format"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(f"{source} is no model of fastnn") from None
    if found != FORMAT:
        raise ValueError(f"{source} has format {found}, this fastnn reads {FORMAT}: install a newer fastnn")
    return config


def _network(config: dict[str, Any], tensors: dict[str, Any]) -> Sequential:
    from .model import Sequential

    layers = from_description(config["layers"])
    if config["seed"] is None:
        raise ValueError("it has no seed")
    scale_targets = config.get("scale_targets", False)
    net = Sequential(layers, seed=config["seed"], dtype=config["dtype"], scale_targets=scale_targets)
    graph = build(layers, whole_number(config["inputs"], "inputs"), scale_targets)
    _check(tensors, "params", (graph.n_params,), net.dtype)  # before memory is asked for
    parameters = Parameters(graph, net.dtype)
    parameters.params[...] = tensors["params"]
    if graph.n_state:
        _check(tensors, "state", (graph.n_state,), net.dtype)
        parameters.state[...] = tensors["state"]
    net._targets_learned = bool(config.get("targets_learned", False))
    parameters.draws[0] = whole_number(config.get("draws", 0), "draws", least=0)
    net._adopt_parameters(parameters)
    net._epochs_done = whole_number(config["epochs_done"], "epochs_done", least=0)
    net._loss = None if config["loss"] is None else loss_from_config(config["loss"])
    net._feature_names = _feature_names(config.get("feature_names"), graph.inputs)
    if "optimizer" in config:
        arguments = dict(config["optimizer"])
        kind, step = arguments.pop("kind"), whole_number(arguments.pop("step"), "step", least=0)
        averaged = whole_number(arguments.pop("averaged", 0), "averaged", least=0)
        product = number(arguments.pop("product", 0.0), "product")
        if not 0 <= product <= 1:
            raise ValueError(f"product must be in 0..1, not {product}")
        net._optimizer = optimizer = optimizers[kind](**arguments)
        state = net._state_for(optimizer, parameters)
        for name, vector in zip(optimizer.state_names, state.array.reshape(-1, graph.n_params), strict=True):
            _check(tensors, f"optimizer.{name}", vector.shape, net.dtype)
            vector[...] = tensors[f"optimizer.{name}"]
        if averaged:
            _check(tensors, "average", (graph.n_params,), net.dtype)
            average = allocate(graph.n_params, net.dtype)
            average[...] = tensors["average"]
            state.keep_average(average)
        state.go_on_from(step, averaged, product)
        net._state = state
    return net


def _feature_names(found: Any, inputs: int) -> tuple[str, ...] | None:
    if found is None:
        return None
    if not isinstance(found, list) or len(found) != inputs or not all(isinstance(name, str) for name in found):
        raise ValueError(f"its feature_names are not those of {inputs} columns")
    return tuple(found)


def _check(tensors: dict[str, Any], name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    found = tensors.get(name)
    if found is None or found.shape != shape or found.dtype != dtype:
        raise ValueError(f"its tensor {name!r} does not fit its layers")


def _header_size(start: bytes, size: int, source: str) -> int:
    """The length of the JSON header, from the first 9 bytes and the size of the file, if that is possible at all."""
    header = int.from_bytes(start[:8], "little")
    if len(start) < 9 or start[8:9] != b"{" or header > LONGEST_HEADER:
        raise ValueError(f"{source} is no model of fastnn")
    if 8 + header + DIGEST_BYTES > size:
        raise ValueError(f"{source} is damaged: it ends too early")
    return header


def load(path: str | os.PathLike[str]) -> Sequential:
    """Read a network that ``Sequential.save`` wrote.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    Sequential
        With its weights, its optimizer's state and its seed: training goes on where it stopped.

    Raises
    ------
    ValueError
        If the file is no model, or damaged: a single changed bit is noticed.
    OSError
        If it cannot be read.
    TypeError
        If `path` is no path.

    Examples
    --------
    >>> import fastnn as fn, os, tempfile
    >>> net = fn.Sequential([fn.Dense(2)], inputs=3, seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     net.save(os.path.join(folder, "model.fnn"))
    ...     again = fn.load(os.path.join(folder, "model.fnn"))
    >>> bool((again.params == net.params).all())
    True
    """
    name = file_path(path)
    return from_bytes(read(name), name)


def read(name: str) -> bytes:
    """The bytes of a file that may be one of ours."""
    if not stat.S_ISREG(os.stat(name).st_mode):
        raise ValueError(f"{name} is no file")
    with open(name, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        _header_size(file.read(9), size, name)  # so that a huge file of another kind is not read
        file.seek(0)
        return file.read(size)


def save(net: Sequential, path: str | os.PathLike[str]) -> None:
    """Write a network so that, whatever happens meanwhile, the path holds the old file or the new one."""
    write_whole(path, to_bytes(net))


def write_whole(path: str | os.PathLike[str], content: bytes, keep_as: str | None = None) -> None:
    """Write a file so that, whatever happens meanwhile, the path holds the old one or the new one.

    If the old one is to be kept under another name, a kill may leave it there and nothing at the path.
    """
    given = file_path(path)
    target = os.path.realpath(given)
    if os.path.exists(target) and not os.path.isfile(target):
        raise ValueError(f"{given} is no file, and will not be replaced by one")
    folder, name = os.path.split(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, f"there is no folder {folder!r}", given)
    temporary = os.path.join(folder, f".{name[:LONGEST_NAME]}.{os.urandom(6).hex()}.part")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(target):  # it keeps its permissions
            os.chmod(temporary, os.stat(target).st_mode & 0o777)
        if keep_as is not None and os.path.exists(target):
            os.replace(target, keep_as)
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):  # it may not be there, or the folder is closed to us
            os.unlink(temporary)
        if isinstance(error, OSError):  # which names the temporary file, or none
            raise OSError(error.errno, error.strerror, given) from None
        raise
    _sync_folder(folder)


def clear(path: str) -> None:
    """Remove what a kill left of writing this very file: nobody else is writing it."""
    folder, name = os.path.split(path)
    if len(name) > LONGEST_NAME:  # of which file they were is not to be seen
        return
    pattern = re.compile(re.escape(f".{name}.") + "[0-9a-f]{12}[.]part")
    with suppress(OSError):
        for found in os.listdir(folder):
            if pattern.fullmatch(found):
                os.unlink(os.path.join(folder, found))


def _sync_folder(folder: str) -> None:
    """Make the new name last; Windows has no such call and needs none."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
