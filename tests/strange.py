"""An ordinary DVC project that is not ours: what the bridge may meet elsewhere, in stages of some milliseconds."""

STEP = '''\
"""A stage: step.py WHAT FOLDER..., with parameters as DVC's stages have them."""

import json
import re
import struct
import sys
import zlib
from pathlib import Path


def given(key):
    """A parameter: the tests need no YAML in a stage."""
    text = (Path(__file__).resolve().parents[1] / "params.yaml").read_text()
    return json.loads(re.search(rf"^ +{key}: (.*)$", text, re.MULTILINE)[1])


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text) if isinstance(text, bytes) else path.write_text(text)


def png(shade):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 2, 2, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes([0, shade, shade, 0, shade, shade]))
    return b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def clean(table, out):
    rows = table.read_text().splitlines()
    write(out / "table.csv", "\\n".join(rows[: given("keep") + 1]) + "\\n")
    write(out / "dropped.csv", "\\n".join(rows[given("keep") + 1 :]) + "\\n")


def fit(name, table, out):
    size, rate = len(table.read_text().splitlines()) - 1, given("rate") / (2 if name == "lasso" else 1)
    losses = [size / (1 + rate * (epoch + 1)) for epoch in range(given("epochs"))]
    write(out / "weights.txt", f"{losses[-1]!r}\\n")
    rows = [f"{epoch}\\t{loss}\\t{epoch / 4}\\n" for epoch, loss in enumerate(losses)]
    write(out / "history.tsv", "epoch\\tloss\\tspeed\\n" + "".join(rows))
    write(out / "roc.csv", "fpr,tpr\\n0,0\\n0.5,0.75\\n1,1\\n")
    train = {"rmse": losses[-1], "error": {"max": 2 * losses[-1], "where": [1, 2]}}
    write(out / "fit.json", json.dumps({"train": train, "score": 1 / losses[-1], "note": "well", "converged": True}))
    write(out / "logs/depth.tsv", "step\\tdepth\\n" + "".join(f"{i}\\t{i * rate}\\n" for i in range(3)))
    rows = [{"epoch": 10 * i, "gap": x, "width": None if i else 1} for i, x in enumerate(losses)]
    write(out / "gap.json", json.dumps({"rows": rows}))
    for step in (0, 50, 100):
        write(out / f"frames/{step}.png", png(step))


def score(weights, fold, out):
    value = float(weights.read_text()) + int(fold)
    write(out, json.dumps({"test": {"rmse": value, "size": 20}}))


def confuse(out):
    write(out / "confusion.csv", "actual,predicted\\n0,1\\n1,1\\n0,0\\n")


def draw(folder, out):
    write(out / "scores.png", png(given("shade") + len(list(folder.iterdir()))))


def report(metrics, out):
    write(out, json.dumps({"best": json.loads(metrics.read_text())["train"]["rmse"]}))


if __name__ == "__main__":
    what, *places = sys.argv[1:]
    globals()[what](*(Path(one) if "/" in one else one for one in places))
'''

PIPELINE = """\
vars:
  - conf/layout.yaml
  - models: {ridge: {kind: L2}, lasso: {kind: L1}}

stages:
  clean:
    desc: A folder as output, made in a folder of its own
    wdir: ${home}
    cmd: python step.py clean ../raw/stations.csv ../${out}/clean
    params: [{../params.yaml: [clean]}]
    deps: [step.py, ../raw/stations.csv, ../raw/photos]
    outs: ["../${out}/clean"]
  fit:
    foreach: ${models}
    do:
      cmd: python ${home}/step.py fit ${key} ${out}/clean/table.csv ${out}/${key}
      params: [fit, {conf/model.toml: [fit.seed, solver]}]
      deps: ["${home}/step.py", "${out}/clean/table.csv"]
      outs: ["${out}/${key}/weights.txt", "${out}/${key}/logs", "${out}/${key}/gap.json", "${out}/${key}/frames"]
      metrics: ["${out}/${key}/fit.json": {cache: false}]
      plots:
        - ${out}/${key}/history.tsv: {x: "${x}", y: loss, cache: false}
        - ${out}/${key}/roc.csv: {x: fpr, y: tpr}
  score:
    matrix: {model: [ridge, lasso], fold: [0, 1]}
    cmd: >-
      python ${home}/step.py score ${out}/${item.model}/weights.txt ${item.fold}
      ${out}/score/${item.model}${item.fold}.json
    deps: ["${home}/step.py", "${out}/${item.model}/weights.txt"]
    outs: ["${out}/score/${item.model}${item.fold}.json"]
  confuse:
    cmd: python ${home}/step.py confuse ${out}/tables
    deps: ["${home}/step.py", "${out}/ridge/weights.txt"]
    plots: ["${out}/tables/confusion.csv": {x: actual, y: predicted, template: confusion}]
  draw:
    cmd: python ${home}/step.py draw ${out}/score ${out}/figures
    params: [draw]
    deps: ["${home}/step.py", "${out}/score"]
    plots: ["${out}/figures/scores.png"]

metrics: ["${out}/score/ridge0.json"]
plots:
  - ${out}/ridge/history.tsv: {x: "${x}", y: speed}
  - ${out}/lasso/gap.json: {x: epoch, y: [gap, width]}
  - ${out}/ridge/logs: {x: step}
  - ${out}/ridge/frames
  - Gap of ridge: {x: epoch, y: {"${out}/ridge/gap.json": [gap]}}
  - Speed of lasso: {x: {"${out}/lasso/history.tsv": epoch}, y: {"${out}/lasso/history.tsv": speed}}
"""

FILES = {
    "dvc.yaml": PIPELINE,
    "report/dvc.yaml": """\
stages:
  sum-up:
    cmd: python ../steps/step.py report ../out/ridge/fit.json ./best.json
    params: [title]
    deps: [../out/ridge/fit.json]
    metrics: [best.json]
""",
    "params.yaml": """\
clean:
  keep: 3
  columns: ["rain", "wind"]
  strict: true
  fill: "mean"
fit:
  seed: 4
  rate: 1e-1
  epochs: 5
draw:
  shade: 7
""",
    "report/params.yaml": "title: What came out\n",
    "conf/model.toml": '[fit]\nseed = 2\n[solver]\nname = "cg"\n[unused]\nx = 1\n',
    "conf/layout.yaml": "home: steps\nout: out\nx: epoch\n",
    "steps/step.py": STEP,
    "raw/stations.csv": "rain,wind\n" + "".join(f"{i},{i * i}\n" for i in range(6)),
    "raw/photos/a.png": "not looked at",
    "raw/photos/more/b.png": "nor is this",
}

# A few lines say that there are two results in it, and which model is the best.
SETTINGS = """\
experiment: weather
runs: [fit]
params: {model: "{run}"}
names: {train.: "", clean.: data.}
curves: {"out/{run}/history.tsv": [speed]}
images:
  frames by step: out/{run}/frames
  last frame: out/{run}/frames/100.png
files: [out/*/weights.txt]
model:
  loader: serving.model
  code: [serving]
  file: out/{run}/weights.txt
  config: {name: "{run}"}
  inputs: [float64, [-1, 2]]
  outputs: [float64, [-1]]
  example: [[1.0, 2.0]]
champion: {metric: score, on: [out/clean/table.csv]}
"""

LOADER = """\
class Model:
    def __init__(self, weight, name):
        self.weight, self.name = weight, name

    def predict(self, points):
        return self.weight * points.sum(axis=1)


def _load_pyfunc(path, config):
    with open(path) as file:
        return Model(float(file.read()), config["name"])
"""
