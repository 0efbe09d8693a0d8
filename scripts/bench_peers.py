"""OPTQ and prefill in PyTorch beside quantd: see scripts/bench-peers, which calls this with a prepared environment."""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import torch
from safetensors.torch import load_file, save_file

BITS, GROUP, BLOCK, DAMPING = 4, 128, 128, 0.01


def make_problem(size, folder):
    """Weights and the Hessian of correlated inputs, as a layer of a language model has them."""
    generator = torch.Generator().manual_seed(size)
    weight = torch.randn(size, size, generator=generator) * 0.02
    mixing = torch.randn(size, size, generator=generator) / size**0.5
    inputs = torch.randn(2 * size, size, generator=generator)
    inputs = inputs + inputs @ mixing
    hessian = 2.0 / len(inputs) * inputs.T @ inputs
    path = folder / f"problem_{size}.safetensors"
    save_file({"weight": weight, "hessian": hessian}, path)
    return path


def fit_asymmetric(columns):
    """Scale and zero per row of a group; the range always holds 0."""
    low = columns.amin(1).clamp(max=0)
    high = columns.amax(1).clamp(min=0)
    scale = (high - low) / (2**BITS - 1)
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    return scale, torch.round(-low / scale)


def optq(weight, hessian):
    """The algorithm of the GPTQ paper in plain PyTorch: three factorizations, then the column sweep in blocks."""
    weight = weight.clone()
    columns = weight.shape[1]
    hessian = hessian + DAMPING * hessian.diagonal().mean() * torch.eye(columns)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    upper = torch.linalg.cholesky(inverse, upper=True)
    quantized = torch.zeros_like(weight)
    for begin in range(0, columns, BLOCK):
        end = min(begin + BLOCK, columns)
        block = weight[:, begin:end].clone()
        errors = torch.zeros_like(block)
        factor = upper[begin:end, begin:end]
        for i in range(end - begin):
            if (begin + i) % GROUP == 0:
                scale, zero = fit_asymmetric(weight[:, begin + i:begin + i + GROUP])
            column = block[:, i]
            code = torch.clamp(torch.round(column / scale) + zero, 0, 2**BITS - 1)
            value = scale * (code - zero)
            quantized[:, begin + i] = value
            error = (column - value) / factor[i, i]
            block[:, i:] -= error[:, None] * factor[i, i:][None, :]
            errors[:, i] = error
        weight[:, end:] -= errors @ upper[begin:end, end:]
    return quantized


def output_error(weight, quantized, hessian):
    """tr(D H D') / tr(W H W')."""
    difference = weight - quantized
    return float(((difference @ hessian) * difference).sum() / ((weight @ hessian) * weight).sum())


def time_of(function, repeats):
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - begin)
    return min(times), result


def run_quantd_optq(binary, problem, threads, repeats):
    out = problem.with_suffix(".quantized.safetensors")
    command = [binary, "optq", str(problem), str(out), str(threads), str(repeats)]
    result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return result["seconds"], load_file(out)["quantized"]


def bench_optq(args, size, folder):
    problem = make_problem(size, folder)
    tensors = load_file(problem)
    repeats = 3 if size <= 2048 else 2
    ours_seconds, ours = run_quantd_optq(args.bin / "peers_bench", problem, args.threads, repeats)
    peer_seconds, peer = time_of(lambda: optq(tensors["weight"], tensors["hessian"]), repeats)
    return {"name": f"optq_{size}", "quantd_seconds": ours_seconds, "pytorch_seconds": peer_seconds,
            "speedup": peer_seconds / ours_seconds,
            "quantd_output_error": output_error(tensors["weight"], ours, tensors["hessian"]),
            "pytorch_output_error": output_error(tensors["weight"], peer, tensors["hessian"])}


@torch.no_grad()
def bench_prefill(args):
    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    ids = torch.randint(5, model.config.vocab_size - 1, (1, 512), generator=torch.Generator().manual_seed(1))
    model(ids)
    peer_seconds, _ = time_of(lambda: model(ids), 5)
    command = [args.bin / "peers_bench", "prefill", str(args.model), "512", str(args.threads), "5"]
    ours = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {"name": "prefill_512", "quantd_seconds": ours["seconds"], "pytorch_seconds": peer_seconds,
            "speedup": peer_seconds / ours["seconds"], "quantd_share_of_sgemm_rate": ours["share_of_sgemm_rate"]}


def print_table(rows):
    print(f"{'problem':14} {'quantd s':>10} {'PyTorch s':>10} {'ratio':>7}  note")
    for row in rows:
        note = (f"relative output error {row['quantd_output_error']:.6f} against {row['pytorch_output_error']:.6f}"
                if "quantd_output_error" in row else f"{row['quantd_share_of_sgemm_rate']:.0%} of the sgemm rate")
        print(f"{row['name']:14} {row['quantd_seconds']:10.3f} {row['pytorch_seconds']:10.3f} {row['speedup']:7.2f}  {note}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--model", type=pathlib.Path, help="also time the float32 prefill of this model folder")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--sizes", default="2048,4096")
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        rows = [bench_optq(args, int(size), pathlib.Path(folder)) for size in args.sizes.split(",")]
    if args.model:
        rows.append(bench_prefill(args))
    print(f"PyTorch {torch.__version__}, {args.threads} threads, best of the repeats; ratio above 1: quantd is faster")
    print_table(rows)
    if args.json:
        args.json.write_text(json.dumps({"rows": rows, "threads": args.threads, "pytorch": torch.__version__}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
