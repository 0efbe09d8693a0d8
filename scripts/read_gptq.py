#!/usr/bin/env python3
"""Reads a GPTQ checkpoint with a decoder of its own and compares it with dense weights, bit for bit.

    scripts/read_gptq.py GPTQ_FOLDER DENSE_FOLDER

GPTQ_FOLDER is an export (exports/gptq of an artifact); DENSE_FOLDER a Hugging Face folder with the artifact's
dequantized weights. Each packed module is decoded to float32 and must equal "<module>.weight" of the dense folder;
every tensor that is not packed must be there too, with the same values. Needs numpy and safetensors from PyPI; shares
no code with quantd. Exit code: 0 all equal, 1 a difference, 2 a folder that cannot be read.
"""

import argparse
import json
import pathlib
import re
import sys

import numpy as np
from safetensors import safe_open

PACKED = ("qweight", "qzeros", "scales", "g_idx")


class BadCheckpoint(Exception):
    pass


def to_float32(tensor):
    return np.asarray(tensor, dtype=np.float32)


def read_bfloat16(path, name):
    """numpy has no bfloat16: its bytes are the upper halves of float32 values."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(size))[name]
        begin, end = entry["data_offsets"]
        file.seek(8 + size + begin)
        halves = np.frombuffer(file.read(end - begin), dtype="<u2")
    return (halves.astype(np.uint32) << 16).view(np.float32).reshape(entry["shape"])


class Checkpoint:
    """All tensors of a folder, read one at a time."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.where = {}
        files = self._weight_files()
        if not files:
            raise BadCheckpoint(f"{folder}: no model.safetensors")
        for path in files:
            with safe_open(path, framework="np") as handle:
                for name in handle.keys():
                    self.where[name] = path

    def _weight_files(self):
        index = self.folder / "model.safetensors.index.json"
        if index.exists():
            names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
            return [self.folder / name for name in names]
        return [path for path in [self.folder / "model.safetensors"] if path.exists()]

    def read(self, name):
        path = self.where[name]
        with safe_open(path, framework="np") as handle:
            if handle.get_slice(name).get_dtype() == "BF16":
                return read_bfloat16(path, name)
            return handle.get_tensor(name)


def read_scheme(folder):
    config = json.loads((pathlib.Path(folder) / "config.json").read_text()).get("quantization_config")
    own = pathlib.Path(folder) / "quantize_config.json"
    if config is None and own.exists():
        config = json.loads(own.read_text())
    if not config or config.get("quant_method", config.get("method")) != "gptq":
        raise BadCheckpoint(f"{folder}: no quantization_config of method gptq")
    return config


def scheme_of(config, module):
    """The common scheme with the first override whose pattern matches."""
    for key, override in (config.get("dynamic") or {}).items():
        if re.match(key.removeprefix("+:").removeprefix("-:"), module):
            if key.startswith("-:"):
                raise BadCheckpoint(f"{module}: packed, but the configuration leaves it dense")
            return {**config, **override}
    return config


def unpack(words, bits, axis):
    """Codes of a little-endian stream of `bits` each, laid over 32-bit words along `axis`."""
    words = np.moveaxis(words, axis, -1)
    raw = np.ascontiguousarray(words).view(np.uint8)
    stream = np.unpackbits(raw, axis=-1, bitorder="little")
    codes = stream.reshape(*words.shape[:-1], -1, bits)
    values = codes.astype(np.int32) @ (1 << np.arange(bits, dtype=np.int32))
    return np.moveaxis(values, -1, axis)


def decode(checkpoint, module, config):
    """[outputs, inputs] float32: scale * (code - zero)."""
    missing = [part for part in PACKED if f"{module}.{part}" not in checkpoint.where]
    if missing:
        raise BadCheckpoint(f"{module}: lacks {', '.join(missing)}")
    qweight, qzeros, scales, g_idx = (checkpoint.read(f"{module}.{part}") for part in PACKED)
    bits = scheme_of(config, module)["bits"]
    codes = unpack(qweight, bits, axis=0)  # [inputs, outputs]
    zeros = unpack(qzeros, bits, axis=1)  # [groups, outputs]
    if config.get("checkpoint_format", config.get("format", "gptq")) == "gptq":
        zeros = zeros + 1
        if (zeros == 1 << bits).any():
            raise BadCheckpoint(f"{module}: a wrapped zero, which version 1 cannot hold")
    if codes.shape != (len(g_idx), scales.shape[1]) or zeros.shape != scales.shape:
        raise BadCheckpoint(f"{module}: tensors of shapes that do not fit together")
    if g_idx.min() < 0 or g_idx.max() >= len(scales):
        raise BadCheckpoint(f"{module}: g_idx leaves 0..{len(scales) - 1}")
    steps = (codes - zeros[g_idx]).astype(np.float32)
    return (to_float32(scales)[g_idx] * steps).T


def difference(expected, actual):
    """(all bits equal up to the sign of zero, largest absolute difference)."""
    if expected.shape != actual.shape:
        return False, float("inf")
    gap = float(np.max(np.abs(expected.astype(np.float64) - actual), initial=0.0))
    return bool(np.array_equal(expected, actual)), gap


def module_of(name):
    stem, _, suffix = name.rpartition(".")
    return stem if suffix in PACKED else None


def pairs(packed, dense, config):
    """(name, whether it is a packed module, float32 value of the export); every tensor of the export once."""
    modules = sorted({module_of(name) for name in packed.where} - {None})
    for module in modules:
        yield f"{module}.weight", True, decode(packed, module, config)
    for name in sorted(packed.where):
        if module_of(name) is None:
            yield name, False, to_float32(packed.read(name))
    known = {f"{module}.weight" for module in modules} | set(packed.where)
    for name in sorted(set(dense.where) - known):
        raise BadCheckpoint(f"{packed.folder}: lacks '{name}' of the dense folder")


def compare(packed_folder, dense_folder):
    packed, dense, config = Checkpoint(packed_folder), Checkpoint(dense_folder), read_scheme(packed_folder)
    modules = others = unequal = 0
    worst, worst_name = 0.0, ""
    for name, is_module, value in pairs(packed, dense, config):
        if name not in dense.where:
            raise BadCheckpoint(f"{dense_folder}: lacks '{name}'")
        equal, gap = difference(to_float32(dense.read(name)), value)
        modules += is_module
        others += not is_module
        unequal += not equal
        if not equal and gap >= worst:
            worst, worst_name = gap, name
    if modules == 0:
        raise BadCheckpoint(f"{packed_folder}: no packed module")
    verdict = "all equal" if unequal == 0 else f"{unequal} differ, worst in '{worst_name}'"
    print(f"{modules} modules, {others} other tensors: {verdict}; worst difference {worst:.9g}")
    return unequal == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gptq_folder")
    parser.add_argument("dense_folder")
    arguments = parser.parse_args()
    try:
        return 0 if compare(arguments.gptq_folder, arguments.dense_folder) else 1
    except (BadCheckpoint, OSError, ValueError, KeyError) as error:
        print(f"read_gptq.py: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
