"""What the experiments share: jobs of `quant run` whose reports are kept, tables and plots of them, and the page.

Every job is named by all that decides its result (method, settings, model, texts, seed). A report that is there already is
taken and its job not run again, so that an experiment that was stopped goes on, and one that grew runs only what is new.
"""
import dataclasses
import hashlib
import json
import math
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


@dataclasses.dataclass(frozen=True)
class Method:
    """A row of a table."""
    name: str
    preset: str
    overrides: tuple = ()  # (key, value) pairs
    needs_data: bool = True
    literal: bool = False  # the form nearest to the paper's text, kept whatever wins

    def arguments(self):
        words = ["--recipe", self.preset]
        for key, value in self.overrides:
            words += ["--set", f"{key}={value}"]
        return words


@dataclasses.dataclass(frozen=True)
class Setting:
    """A model, the texts and how many tokens of them."""
    name: str
    model: pathlib.Path
    calibration: pathlib.Path
    evaluation: pathlib.Path
    sequences: int
    length: int
    context: int
    windows: int

    def arguments(self, method, seed):
        words = ["--model", str(self.model), "--evaluation", str(self.evaluation), "--context", str(self.context),
                 "--windows", str(self.windows)]
        if method.needs_data:
            words += ["--calibration", str(self.calibration), "--sequences", str(self.sequences), "--length",
                      str(self.length), "--seed", str(seed)]
        return words


class Runner:
    """Runs jobs, one after the other, and keeps their reports in a folder."""

    def __init__(self, results, quant, threads=0, kept_only=False):
        self.results = pathlib.Path(results)
        self.results.mkdir(parents=True, exist_ok=True)
        self.quant = str(quant)
        self.threads = threads
        self.kept_only = kept_only

    def rows(self, setting, method, seeds):
        """One a seed, or one in all for a method without data. With kept_only those that were run before."""
        seeds = seeds if method.needs_data else seeds[:1]
        rows = [self._row(setting, method, seed) for seed in seeds]
        return [row for row in rows if row is not None]

    def _row(self, setting, method, seed):
        words = method.arguments() + setting.arguments(method, seed if method.needs_data else 0)
        path = self.results / f"{self._key(words)}.json"
        if not path.exists():
            if self.kept_only:
                return None
            self._run(words, path)
        row = Row(setting, method, seed, json.loads(path.read_text()))
        print(row, flush=True)
        return row

    def _key(self, words):
        # Models and texts by their names, not by where they lie.
        portable = [pathlib.Path(word).name if "/" in word else word for word in words]
        return hashlib.sha256("\0".join(portable).encode()).hexdigest()[:24]

    def _run(self, words, path):
        with tempfile.TemporaryDirectory(dir=self.results) as folder:
            out = pathlib.Path(folder) / "artifact"
            command = [self.quant, "run", *words, "--out", str(out), "--json"]
            if self.threads:
                command += ["--threads", str(self.threads)]
            begin = time.monotonic()
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
            report = json.loads((out / "report.json").read_text())
            report["performance"] = json.loads((out / "performance.json").read_text())
            report["wall_seconds"] = time.monotonic() - begin
            report["command"] = ["quant", "run", *words]
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps(report, indent=1))
            partial.rename(path)


@dataclasses.dataclass(frozen=True)
class Row:
    setting: Setting
    method: Method
    seed: int
    report: dict

    def __str__(self):
        return (f"{self.setting.name:22} {self.setting.sequences:4} x {self.setting.length} {self.method.name:36} seed {self.seed}  "
                f"{self.bits:6.3f} bits  perplexity {self.perplexity:9.2f}  KL {self.evaluation['kl_mean']:.4f}")

    @property
    def evaluation(self):
        return self.report["evaluation"]

    @property
    def perplexity(self):
        return self.evaluation["perplexity_quantized"]

    @property
    def bits(self):
        return self.report["size"]["bits_per_weight"]

    @property
    def phase_seconds(self):
        return self.report["performance"]["phase_seconds"]

    @property
    def seconds(self):
        """Without what both the method and any other would spend on evaluation and publishing."""
        return self.phase_seconds.get("calibrate", 0) + self.phase_seconds.get("quantize", 0)

    @property
    def peak_memory_bytes(self):
        return self.report["performance"]["peak_memory_bytes"]


@dataclasses.dataclass(frozen=True)
class Summary:
    """One method under one setting, over its seeds."""
    method: Method
    rows: tuple

    def values(self, key):
        return [row.evaluation[key] for row in self.rows]

    def mean(self, key):
        return statistics.fmean(self.values(key))

    @property
    def perplexity(self):
        return math.exp(statistics.fmean(math.log(row.perplexity) for row in self.rows))

    @property
    def perplexities(self):
        return [row.perplexity for row in self.rows]

    @property
    def standard_error(self):
        """Of one seed's perplexity, from the windows of the text; the seeds' spread is beside it in every table."""
        return max(self.values("perplexity_quantized_error"))

    @property
    def bits(self):
        return self.rows[0].bits


def summaries(rows):
    """In the order of the methods' first appearance."""
    by_method = {}
    for row in rows:
        by_method.setdefault(row.method, []).append(row)
    return [Summary(method, tuple(found)) for method, found in by_method.items()]


def spread(values, digits=2):
    return f"{min(values):.{digits}f}–{max(values):.{digits}f}" if len(values) > 1 else f"{values[0]:.{digits}f}"


def table(found):
    """Markdown."""
    original = found[0].rows[0].evaluation["perplexity_original"]
    lines = ["| method | bits a weight | perplexity | seeds | error of one | KL, mean | same top-1 |",
             "|---|---:|---:|---|---:|---:|---:|",
             f"| original | 16 | {original:.2f} | | {found[0].rows[0].evaluation['perplexity_original_error']:.2f} | 0 | 100 % |"]
    best = min(summary.perplexity for summary in found)
    for summary in found:
        mark = "**" if summary.perplexity == best else ""
        lines.append(f"| {summary.method.name} | {summary.bits:.3f} | {mark}{summary.perplexity:.2f}{mark} | {spread(summary.perplexities)} | "
                     f"{summary.standard_error:.2f} | {summary.mean('kl_mean'):.4f} | {summary.mean('same_top1'):.1%} |")
    return "\n".join(lines)


def plot(found, title, path):
    """Log perplexity ratio to the original: a bar a method, a dot a seed."""
    import matplotlib
    matplotlib.use("svg")
    import matplotlib.pyplot as pyplot
    figure, axes = pyplot.subplots(figsize=(7.5, 0.42 * len(found) + 1.2), layout="constrained")
    for place, summary in enumerate(found):
        ratios = summary.values("log_perplexity_ratio")
        color = "#7a7a7a" if not summary.method.literal else "#b0a070"
        color = "#2f6fab" if "oac" in summary.method.preset else color
        axes.barh(place, statistics.fmean(ratios), color=color, height=0.62)
        axes.plot(ratios, [place] * len(ratios), "o", color="black", markersize=3)
    axes.set_yticks(range(len(found)), [summary.method.name for summary in found])
    axes.invert_yaxis()
    axes.set_xlabel("log of perplexity over the original's (dots: calibration seeds)")
    axes.set_title(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def common_arguments(parser, results, page, sections):
    """Options that every experiment has."""
    parser.add_argument("--smollm2", type=pathlib.Path, help="folder of SmolLM2-135M")
    parser.add_argument("--shared", type=pathlib.Path, default=ROOT.parent / "shared", help="reference material (default ../shared)")
    parser.add_argument("--models", default="quantd-tiny-llama,quantd-tiny-opt,smollm2")
    parser.add_argument("--sections", default=",".join(sections))
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--quant", type=pathlib.Path, default=ROOT / "build/release/bin/quant")
    parser.add_argument("--results", type=pathlib.Path, default=ROOT / results, help="kept reports")
    parser.add_argument("--kept", action="store_true", help="run nothing: the page of what was run so far, other rows left out")
    parser.add_argument("--page", type=pathlib.Path, default=ROOT / page)


def settings(args):
    """By model."""
    found = {}
    for name in args.models.split(","):
        if name != "smollm2":
            data = ROOT / "data"
            found[name] = Setting(name, data / "models" / name, data / "books/calibration.txt", data / "books/heldout.txt",
                                  sequences=64, length=256, context=512, windows=32)
            continue
        texts = args.shared / "data/calibration/c4.utf8", args.shared / "data/wikitext2/wiki.test.raw"
        if args.smollm2 is None or not all(path.exists() for path in (args.smollm2, *texts)):
            print("SKIPPED: SmolLM2-135M or its texts are not here; see --help", file=sys.stderr)
            continue
        found[name] = Setting("SmolLM2-135M-Instruct", args.smollm2, *texts, sequences=16, length=512, context=512, windows=16)
    return found


def measure(runner, setting, methods, seeds):
    """Nothing when fewer than half of the methods were run."""
    found = summaries([row for method in methods for row in runner.rows(setting, method, seeds)])
    return found if 2 * len(found) >= len(methods) else []


def section_page(title, found, picture, page):
    plot(found, title, picture)
    return f"### {title}\n\n{table(found)}\n\n![{title}]({picture.relative_to(page.parent)})\n"


def with_packages(script, requirements):
    """Runs this script again in an environment that has what its plots need, made once below build/."""
    folder = ROOT / "build/experiment-venv"
    python = folder / "bin/python"
    if pathlib.Path(sys.prefix) == folder:
        return
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        done = subprocess.run([folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *requirements])
        if done.returncode != 0:
            shutil.rmtree(folder)
            sys.exit(f"{script}: {', '.join(requirements)} cannot be installed here; the plots need a package index once")
    sys.exit(subprocess.run([python, script, *sys.argv[1:]]).returncode)
