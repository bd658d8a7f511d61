"""A dense network as an hls4ml project, and its C simulation compiled with g++.

The layers are handed to hls4ml as its own list of layers, every precision by name, so that no
framework stands between. The bridge of hls4ml takes one sample a call; ours takes all mantissas.
Needs hls4ml and g++; a simulation is a peer to compare with, not an engine.
"""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.nn import nodes as k
from scout40.emulator.nn.network import Network
from scout40.streams.errors import BadConfig, Scout40Error

BRIDGE = """
#include "firmware/myproject.h"
#include "firmware/nnet_utils/nnet_helpers.h"
#include <cstdint>
namespace nnet {{
bool trace_enabled = false;
std::map<std::string, void *> *trace_outputs = NULL;
size_t trace_type_size = sizeof(double);
}}
extern "C" void batch(const int64_t *x, int64_t *y, int64_t n) {{
    for (int64_t i = 0; i < n; i++) {{
        input_t a[{inputs}];
        result_t r[{outputs}];
        for (int k = 0; k < {inputs}; k++) a[k].range({wide_in} - 1, 0) = x[i * {inputs} + k];
        myproject(a, r);
        for (int k = 0; k < {outputs}; k++) {{
            ap_int<{wide_out}> bits = r[k].range({wide_out} - 1, 0);
            y[i * {outputs} + k] = bits.to_int64();
        }}
    }}
}}
"""


def missing() -> str:
    """Why no C simulation can be made here; empty if one can."""
    if importlib.util.find_spec("hls4ml") is None:
        return "hls4ml is not installed"
    return "" if shutil.which("g++") else "there is no g++"


class CSimulation:
    """Of a network of dense and ReLU nodes with accumulators, one input and one signed output.

    folder: where the project is written.

    Raises BadConfig for other networks, Scout40Error when a tool is missing or fails.
    """

    def __init__(self, network: Network, folder: Path) -> None:
        layers, precisions = _layers(network)
        if reason := missing():
            raise Scout40Error(f"no C simulation: {reason}")
        from hls4ml.model import ModelGraph

        self.network = network
        ModelGraph.from_layer_list(
            {
                "OutputDir": str(folder), "ProjectName": "myproject", "Backend": "Vitis",
                "IOType": "io_parallel", "Part": "xcvu9p-flga2104-2L-e", "ClockPeriod": 5,
                "HLSConfig": {
                    "Model": {"Precision": "ap_fixed<16,6>", "ReuseFactor": 1},
                    "LayerName": precisions,
                },
            },
            layers,
        ).write()  # fmt: skip
        last = network.outputs[0].name
        (folder / "batch.cpp").write_text(
            BRIDGE.format(
                inputs=network.n_inputs, outputs=network.n_outputs,
                wide_in=network.inputs[0].type.width, wide_out=network.types[last].width,
            )
        )  # fmt: skip
        weights = folder / "firmware" / "weights"
        built = subprocess.run(
            ["g++", "-O2", "-fPIC", "-shared", "-std=c++14", "-Ifirmware/ap_types", "-I.",
             f'-DWEIGHTS_DIR="{weights}"', "firmware/myproject.cpp", "batch.cpp", "-o", "csim.so"],
            cwd=folder, check=False, capture_output=True, text=True,
        )  # fmt: skip
        if built.returncode:
            raise Scout40Error(f"g++ in {folder}: {built.stderr[:2000]}")
        self.library = ctypes.CDLL(str(folder / "csim.so"))

    def infer(self, x: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Mantissas (n, n_outputs) of mantissas (n, n_inputs)."""
        x = np.ascontiguousarray(x, np.int64)
        y = np.empty((len(x), self.network.n_outputs), np.int64)
        self.library.batch(
            x.ctypes.data_as(ctypes.c_void_p), y.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_int64(len(x)),
        )  # fmt: skip
        return y


def _layers(network: Network) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """hls4ml's list of layers, and the precision of everything."""
    only = network.inputs[0]
    last = network.outputs[-1].name
    if len(network.inputs) > 1 or len(network.outputs) > 1 or not network.types[last].signed:
        raise BadConfig(f"network {network.name}: expected one input and one signed output")
    layers: list[dict[str, Any]] = [
        {"class_name": "InputLayer", "name": only.name, "input_shape": list(only.shape)}
    ]
    precisions: dict[str, Any] = {only.name: {"Precision": {"result": str(only.type)}}}
    for node in network.nodes:
        size = network.shapes[node.name][0]
        if isinstance(node, k.Dense) and node.accumulator is not None:
            layers.append({
                "class_name": "Dense", "name": node.name, "inputs": [node.input],
                "n_in": len(node.weights), "n_out": size, "use_bias": True,
                "weight_data": node.weight_type.values(node.weights),
                "bias_data": node.bias_type.values(node.bias),
            })  # fmt: skip
            types = {"weight": node.weight_type, "bias": node.bias_type,
                     "accum": node.accumulator, "result": node.type}  # fmt: skip
            precisions[node.name] = {
                "Precision": {name: str(one) for name, one in types.items()},
                "ReuseFactor": 1, "Strategy": "Latency",
            }  # fmt: skip
        elif isinstance(node, k.Relu):
            layers.append({"class_name": "Activation", "activation": "relu", "name": node.name,
                           "inputs": [node.input], "n_in": size})  # fmt: skip
            precisions[node.name] = {"Precision": {"result": str(node.type)}}
        else:
            raise BadConfig(f"node {node.name!r}: expected dense with an accumulator, or relu")
    return layers, precisions
