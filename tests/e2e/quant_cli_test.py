"""The `quant` tool as a user meets it: whole jobs on the embedded models, and what it says to bad input."""
import filecmp
import json
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE = pathlib.Path(os.environ.get("QUANTD_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
QUANT = pathlib.Path(os.environ.get("QUANTD_BIN_DIR", SOURCE / "build/release/bin")) / "quant"
LLAMA = SOURCE / "data/models/quantd-tiny-llama"
OPT = SOURCE / "data/models/quantd-tiny-opt"
CALIBRATION = SOURCE / "data/books/calibration.txt"
HELDOUT = SOURCE / "data/books/heldout.txt"
VOLATILE = {"performance.json", "report.html"}


def quant(*arguments, **options):
    return subprocess.run([QUANT, *map(str, arguments)], capture_output=True, text=True, timeout=300, **options)


def job(out, *more, model=LLAMA, recipe="gptq", tokens=(4, 64), **options):
    """A small job; `tokens`: calibration sequences and their length."""
    calibration = ["--calibration", CALIBRATION, "--sequences", tokens[0], "--length", tokens[1]] if recipe not in ("rtn", "bcq") else []
    return quant("run", "--model", model, "--recipe", recipe, *calibration, "--evaluation", HELDOUT, "--context", 64,
                 "--windows", 4, "--out", out, "--json", *more, **options)


class Scratch(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="quantd-cli-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def path(self, name):
        return self.folder / name

    def succeeded(self, done):
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return json.loads(done.stdout)


def header_bytes(path):
    """Of a safetensors file: the length of its header, and the header."""
    with open(path, "rb") as file:
        return 8 + struct.unpack("<Q", file.read(8))[0]


class WholeJobs(Scratch):
    def test_artifact_is_smaller_and_reads_back(self):
        for model in (LLAMA, OPT):
            with self.subTest(model=model.name):
                out = self.path(model.name)
                report = self.succeeded(job(out, "--export", "gptq", "--set", "bits=4", model=model))
                self.assertLess(report["size"]["quantized_bytes"], report["size"]["original_bytes"] / 2)
                inspected = self.succeeded(quant("inspect", out, "--json"))
                self.assertEqual(inspected["kind"], "artifact")
                evaluated = self.succeeded(quant("evaluate", "--model", out, "--text", HELDOUT, "--context", 64, "--windows", 4,
                                                 "--json"))
                self.assertEqual(evaluated["perplexity"], report["evaluation"]["perplexity_quantized"])
                manifest = json.loads((out / "manifest.json").read_text())
                certificate = manifest["exports"][0]["certificate"]
                self.assertEqual(certificate["different_values"], 0)
                self.assertGreater(certificate["modules"], 30)

    def test_every_preset_reads_back_with_the_size_it_reports(self):
        for model, recipe in ((LLAMA, "spqr"), (OPT, "spqr"), (LLAMA, "billm"), (OPT, "billm"), (LLAMA, "oac"), (OPT, "oac-binary"),
                              (LLAMA, "gptqt"), (OPT, "gptqt"), (OPT, "bcq")):
            with self.subTest(model=model.name, recipe=recipe):
                out = self.path(f"{model.name}-{recipe}")
                report = self.succeeded(job(out, model=model, recipe=recipe))
                evaluated = self.succeeded(quant("evaluate", "--model", out, "--text", HELDOUT, "--context", 64, "--windows", 4,
                                                 "--json"))
                self.assertEqual(evaluated["perplexity"], report["evaluation"]["perplexity_quantized"])
                size = report["size"]
                weights = size["quantized_weights"]
                dense_bytes = size["original_bytes"] - 2 * weights  # bf16
                accounted = dense_bytes + size["bits_per_weight"] * weights / 8
                self.assertAlmostEqual(size["quantized_bytes"], accounted, delta=1)
                # Headers, which name every tensor, are 1 % by themselves of models as small as these.
                files = sum(path.stat().st_size - header_bytes(path) for path in out.glob("model-*.safetensors"))
                self.assertLess(abs(files - accounted) / accounted, 0.001)

    def test_layouts_that_hold_no_such_grid_are_refused_before_the_work(self):
        for recipe in ("spqr", "billm", "gptqt", "bcq"):
            done = job(self.path("out"), "--export", "gptq", recipe=recipe)
            self.assertEqual(done.returncode, 3, done.stdout)
            self.assertEqual(json.loads(done.stdout)["error"]["reason"], "EXPORT_TARGET_CANNOT_HOLD")

    def test_bytes_do_not_depend_on_threads_or_runs(self):
        for recipe, settings, files in (("gptq", ("--export", "gptq", "--set", "bits=3"), 10), ("oac", (), 4), ("oac-binary", (), 4),
                                        ("gptqt", ("--set", "sensitivity=output_adaptive"), 4)):
            with self.subTest(recipe=recipe):
                folders = [self.path(f"{recipe}-{name}") for name in ("one", "two", "again")]
                for folder, threads in zip(folders, (1, 2, 2)):
                    self.succeeded(job(folder, "--threads", threads, *settings, recipe=recipe))
                for other in folders[1:]:
                    self.expect_same_files(folders[0], other, files)

    def expect_same_files(self, folder, other, at_least):
        names = sorted(p.relative_to(other) for p in other.rglob("*") if p.is_file() and p.name not in VOLATILE)
        self.assertGreater(len(names), at_least)
        for name in names:
            self.assertTrue(filecmp.cmp(folder / name, other / name, shallow=False), name)

    def test_plan_is_told_before_the_work(self):
        done = job(self.path("out"), recipe="oac")
        self.succeeded(done)
        plan = done.stderr
        for line in ("42 layers to quantize, 0 left as they are", "bits a quantized weight", "GB of memory",
                     "passes over the original model, forward and backward", "layers' gradients",
                     "gradients: hessian_model=boundary, labels=sampled", "at 7 boundaries"):
            self.assertIn(line, plan)
        shares = [float(share) for share in re.findall(r"([0-9.]+) %$", plan.split("share\n")[1].split("gradients:")[0], re.M)]
        self.assertGreaterEqual(len(shares), 4)
        self.assertAlmostEqual(sum(shares), 100, delta=0.05 * len(shares) + 1e-9)  # each is rounded to a tenth

    def test_rules_change_layers_and_skip_them(self):
        report = self.succeeded(job(self.path("out"), "--rule", "*.down_proj:bits=8", "--rule", "*layers.0.*:skip", recipe="rtn"))
        bits = {layer["name"]: layer["bits_per_weight"] for layer in report["layers"]}
        self.assertGreater(bits["model.layers.0.mlp.down_proj"], 8)  # the first rule wins
        self.assertNotIn("model.layers.0.mlp.up_proj", bits)
        self.assertLess(bits["model.layers.1.mlp.up_proj"], 5)

    def test_gptq_loses_less_than_rtn(self):
        # Thirty tokens for each of the 256 inputs: with far fewer the second moments say nothing, and rounding wins.
        settings = {"tokens": (32, 256)}
        loss = {recipe: self.succeeded(job(self.path(recipe), "--set", "bits=2", recipe=recipe, **settings))["evaluation"]["kl_mean"]
                for recipe in ("rtn", "gptq")}
        self.assertLess(loss["gptq"], loss["rtn"])

    def test_job_file_and_flags_give_the_same_artifact(self):
        spec = {"model": "models/quantd-tiny-llama", "recipe": {"preset": "gptq", "overrides": {"bits": 4}},
                "calibration": {"file": "books/calibration.txt", "sequences": 4, "length": "64"},
                "evaluation": {"file": "books/heldout.txt", "context": 64, "windows": 4}}
        self.path("job.json").write_text(json.dumps(spec))
        roots = ("--model-root", SOURCE / "data", "--data-root", SOURCE / "data")
        self.succeeded(quant("run", "--job", self.path("job.json"), *roots, "--out", self.path("a"), "--json"))
        self.succeeded(job(self.path("b"), "--set", "bits=4"))
        self.assertTrue(filecmp.cmp(self.path("a") / "manifest.json", self.path("b") / "manifest.json", shallow=False))

    def test_progress_lines_never_go_back(self):
        read_end, write_end = os.pipe()
        done = job(self.path("out"), "--progress-fd", write_end, pass_fds=(write_end,))
        os.close(write_end)
        with os.fdopen(read_end) as pipe:
            lines = [json.loads(line) for line in pipe]
        self.succeeded(done)
        fractions = [line["fraction"] for line in lines]
        self.assertEqual(fractions, sorted(fractions))
        phases = list(dict.fromkeys(line["phase"] for line in lines))
        self.assertEqual(phases, ["plan", "calibrate", "quantize", "pack", "evaluate", "publish"])

    def test_cancel_leaves_nothing(self):
        out = self.path("out")
        command = [QUANT, "run", "--model", LLAMA, "--recipe", "gptq", "--calibration", CALIBRATION, "--sequences", "64",
                   "--length", "512", "--out", out, "--json"]
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        deadline = time.monotonic() + 60
        while not self.path("out.partial").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, output)
        self.assertEqual(json.loads(output)["error"]["reason"], "CANCELLED")
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_generate_continues_a_text(self):
        result = self.succeeded(quant("generate", "--model", LLAMA, "--prompt", "It was a dark night", "--tokens", 8, "--json"))
        self.assertTrue(result["text"].startswith("It was a dark night"))
        self.assertEqual(result["tokens"], 8)


def write_safetensors(path, header, data=b""):
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def read_safetensors(path):
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    return json.loads(raw[8:8 + length]), raw[8 + length:]


def edit_config(folder, **changes):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config.update(changes)
    path.write_text(json.dumps(config))


def edit_header(folder, change):
    path = folder / "model.safetensors"
    header, data = read_safetensors(path)
    data = bytearray(data)
    change(header, data)
    write_safetensors(path, header, bytes(data))


def rename_tensor(header, _):
    header["model.norm.renamed"] = header.pop("model.norm.weight")


def poison(header, data):
    begin = header["model.layers.0.self_attn.q_proj.weight"]["data_offsets"][0]
    data[begin + 10:begin + 12] = struct.pack("<H", 0x7FC0)  # bf16 NaN


def wrong_dtype(header, _):
    header["model.norm.weight"]["dtype"] = "I16"


def overlap(header, _):
    names = sorted((v["data_offsets"], k) for k, v in header.items() if k != "__metadata__")
    header[names[1][1]]["data_offsets"] = [n - 2 for n in header[names[1][1]]["data_offsets"]]


def truncate(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def oversized_header(folder):
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 40) + path.read_bytes()[8:])


def missing_shard(folder):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors"}}))


def remove_tokenizer(folder):
    for name in ("tokenizer.json", "tokenizer.model"):
        (folder / name).unlink()


def big_vocabulary(folder):
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["model"]["vocab"]["zzzzzz"] = 5000
    path.write_text(json.dumps(tokenizer))


# name, what is done to a copy of the embedded model, expected reason, words the message must hold
BAD_MODELS = [
    ("truncated", truncate, "TENSOR_OUTSIDE_FILE", "fetch it again"),
    ("overlapping", lambda f: edit_header(f, overlap), "TENSORS_NOT_CONTIGUOUS", "model.safetensors"),
    ("oversized header", oversized_header, "SAFETENSORS_HEADER_TOO_LARGE", "100000000"),
    ("integer weight", lambda f: edit_header(f, wrong_dtype), "TENSOR_WRONG_DTYPE", "model.norm.weight"),
    ("NaN weight", lambda f: edit_header(f, poison), "TENSOR_NOT_FINITE", "model.layers.0.self_attn.q_proj.weight"),
    ("missing tensor", lambda f: edit_header(f, rename_tensor), "TENSOR_MISSING", "model.norm.weight"),
    ("missing shard", missing_shard, "SHARD_MISSING", "model-00001-of-00002.safetensors"),
    ("index is no JSON", lambda f: (f / "model.safetensors.index.json").write_text("{"), "INDEX_INVALID", "index"),
    ("no weights", lambda f: (f / "model.safetensors").unlink(), "MODEL_FOLDER_INVALID", "model.safetensors"),
    ("no config", lambda f: (f / "config.json").unlink(), "FILE_NOT_FOUND", "config.json"),
    ("config is no JSON", lambda f: (f / "config.json").write_text("[1,"), "JSON_MALFORMED", "config.json"),
    ("zero layers", lambda f: edit_config(f, num_hidden_layers=0), "CONFIG_INVALID", "num_hidden_layers"),
    ("huge hidden size", lambda f: edit_config(f, hidden_size=1 << 40), "CONFIG_INVALID", "hidden_size"),
    ("text where a size is due", lambda f: edit_config(f, vocab_size="many"), "CONFIG_INVALID", "vocab_size"),
    ("heads do not divide", lambda f: edit_config(f, num_attention_heads=7), "CONFIG_INVALID", "num_attention_heads"),
    ("kv heads do not divide", lambda f: edit_config(f, num_key_value_heads=3), "CONFIG_INVALID", "num_key_value_heads"),
    ("unknown architecture", lambda f: edit_config(f, model_type="rwkv"), "ARCHITECTURE_UNKNOWN", "known are llama"),
    ("unknown rotary scaling", lambda f: edit_config(f, rope_scaling={"rope_type": "yarn"}), "CONFIG_INVALID", "yarn"),
    ("already quantized", lambda f: edit_config(f, quantization_config={"bits": 4}), "MODEL_ALREADY_QUANTIZED", "original"),
    ("shape differs from config", lambda f: edit_config(f, intermediate_size=512), "TENSOR_WRONG_SHAPE", "512"),
    ("tokenizer absent", remove_tokenizer, "TOKENIZER_MISSING", "tokenizer"),
    ("vocabulary above the embedding", big_vocabulary, "VOCABULARY_LARGER_THAN_EMBEDDING", "embedding"),
    ("tokenizer is no JSON", lambda f: (f / "tokenizer.json").write_text("{}"), "TOKENIZER_MALFORMED", "tokenizer.json"),
]

# name, flags that replace good ones, expected reason, words the message must hold
BAD_FLAGS = [
    ("unknown recipe", ["--recipe", "gtpq"], "RECIPE_UNKNOWN", "gptq"),
    ("unknown parameter", ["--set", "bitz=4"], "RECIPE_UNKNOWN_PARAMETER", "bits"),
    ("bits out of range", ["--set", "bits=9"], "RECIPE_PARAMETER_OUT_OF_RANGE", "8"),
    ("bits not a number", ["--set", "bits=four"], "RECIPE_PARAMETER_TYPE", "bits"),
    ("setting without a value", ["--set", "bits"], "SETTING_MALFORMED", "key=value"),
    ("group size does not divide", ["--set", "group_size=100"], "GROUP_SIZE_DOES_NOT_DIVIDE", "256"),
    ("rule matches nothing", ["--rule", "*.nothing:bits=8"], "RULE_MATCHES_NOTHING", "*.nothing"),
    ("rule without a pattern", ["--rule", "bits=8"], "RULE_MALFORMED", "PATTERN"),
    ("unknown export", ["--export", "onnx"], "JOB_CHOICE_UNKNOWN", "gptq"),
    ("export cannot hold the scales", ["--export", "gptq", "--set", "scale_dtype=f32"], "EXPORT_TARGET_CANNOT_HOLD", "f16"),
    ("export cannot hold the bits", ["--export", "gptq", "--set", "bits=5"], "EXPORT_TARGET_CANNOT_HOLD", "5"),
    ("no such device", ["--device", "cuda"], "DEVICE_UNAVAILABLE", "cpu"),
    ("unknown device", ["--device", "tpu"], "JOB_CHOICE_UNKNOWN", "cpu"),
    ("calibration absent", ["--calibration", ""], "CALIBRATION_REQUIRED", "calibration"),
    ("calibration file absent", ["--calibration", "/nowhere.txt"], "DATA_NOT_FOUND", "/nowhere.txt"),
    ("sequences longer than the model", ["--length", "4096"], "JOB_FIELD_OUT_OF_RANGE", "512"),
    ("evaluated on calibration text", ["--evaluation", str(CALIBRATION)], "EVALUATION_TEXT_IS_CALIBRATION_TEXT", "another text"),
    ("unknown protocol", ["--protocol", "mine"], "JOB_CHOICE_UNKNOWN", "plain"),
    ("model absent", ["--model", "/nowhere"], "MODEL_NOT_FOUND", "/nowhere"),
    ("too many threads", ["--threads", "5000"], "THREADS_OUT_OF_RANGE", "1024"),
]

# name, bytes of a calibration text, expected reason
BAD_TEXTS = [("empty", b"", "TEXT_EMPTY"), ("not UTF-8", b"abc \xff\xfe", "TEXT_NOT_UTF8"),
             ("one word", b"hello", "CALIBRATION_TEXT_TOO_SHORT")]


class BadInput(Scratch):
    def refused(self, done, reason, words):
        error = json.loads(done.stdout)["error"]
        self.assertEqual(error["reason"], reason, error)
        self.assertIn(words, error["message"])
        self.assertIn(done.returncode, range(3, 8))
        self.assertFalse(self.path("out").exists(), "something was published")
        self.assertFalse(self.path("out.partial").exists(), "scratch was left behind")

    def run_with(self, *flags):
        """A good job whose flags are overridden: the last value of a flag wins."""
        given = dict(zip(flags[::2], flags[1::2]))
        good = {"--model": LLAMA, "--recipe": "gptq", "--calibration": CALIBRATION, "--sequences": 2, "--length": 32,
                "--evaluation": HELDOUT, "--context": 32, "--windows": 1}
        arguments = [text for item in {**good, **given}.items() for text in item]
        repeated = [text for flag, value in zip(flags[::2], flags[1::2]) if flag == "--set" for text in (flag, value)]
        arguments = [a for i, a in enumerate(arguments) if not (a == "--set" or (i and arguments[i - 1] == "--set"))] + repeated
        return quant("run", *arguments, "--out", self.path("out"), "--json")

    def test_good_flags_are_accepted(self):
        self.succeeded(self.run_with())

    def test_bad_models(self):
        for name, spoil, reason, words in BAD_MODELS:
            with self.subTest(name):
                folder = self.path("model")
                shutil.copytree(LLAMA, folder)
                spoil(folder)
                self.refused(self.run_with("--model", str(folder)), reason, words)
                shutil.rmtree(folder)

    def test_bad_flags(self):
        for name, flags, reason, words in BAD_FLAGS:
            with self.subTest(name):
                self.refused(self.run_with(*flags), reason, words)

    def test_bad_calibration_texts(self):
        for name, text, reason in BAD_TEXTS:
            with self.subTest(name):
                self.path("text.txt").write_bytes(text)
                self.refused(self.run_with("--calibration", str(self.path("text.txt"))), reason, "")

    def test_names_must_stay_below_their_roots(self):
        (self.path("root")).mkdir()
        os.symlink(LLAMA, self.path("root") / "link")
        for name, reason in (("../x", "PATH_ESCAPES_ROOT"), ("link", "PATH_ESCAPES_ROOT"), ("/etc", "PATH_INVALID"),
                             ("absent", "MODEL_NOT_FOUND")):
            with self.subTest(name):
                self.refused(self.run_with("--model-root", str(self.path("root")), "--model", name), reason, name)

    def test_existing_output_is_kept(self):
        self.succeeded(job(self.path("kept"), recipe="rtn"))
        before = (self.path("kept") / "manifest.json").read_bytes()
        done = job(self.path("kept"), "--set", "bits=8", recipe="rtn")
        self.assertEqual(json.loads(done.stdout)["error"]["reason"], "OUTPUT_EXISTS")
        self.assertEqual((self.path("kept") / "manifest.json").read_bytes(), before)
        self.succeeded(job(self.path("kept"), "--set", "bits=8", "--overwrite", recipe="rtn"))

    def test_tampered_artifact_is_noticed(self):
        self.succeeded(job(self.path("artifact"), recipe="rtn"))
        shard = self.path("artifact") / "model-00001-of-00007.safetensors"
        raw = bytearray(shard.read_bytes())
        raw[-1] ^= 1
        shard.write_bytes(raw)
        done = quant("inspect", self.path("artifact"), "--json")
        self.assertEqual(json.loads(done.stdout)["error"]["reason"], "ARTIFACT_FILE_CHANGED")

    def test_a_file_too_large_for_the_disk_fails_cleanly(self):
        limit = "ulimit -f 100; exec \"$@\""  # blocks of 1024 bytes; the limit stands in for a full disk
        done = subprocess.run(["bash", "-c", "trap '' XFSZ; " + limit, "-", QUANT, "run", "--model", LLAMA, "--recipe", "rtn",
                               "--out", self.path("out"), "--json"], capture_output=True, text=True)
        self.refused(done, "IO_ERROR", "File too large")

    def test_usage_errors_have_their_own_code(self):
        self.assertEqual(quant("run").returncode, 2)
        self.assertEqual(quant("fly").returncode, 2)
        self.assertEqual(quant("--help").returncode, 0)


if __name__ == "__main__":
    if not QUANT.exists():
        print(f"SKIPPED: {QUANT} is not built")
        sys.exit(77)
    unittest.main()
