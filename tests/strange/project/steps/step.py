"""Run a stage of an ordinary DVC project that is not ours: step.py STAGE ARGUMENT...

Each takes some milliseconds. The parameters are read without a YAML library, which would take more.
"""

import json
import re
import struct
import sys
import zlib
from pathlib import Path

PARAMS = Path(__file__).resolve().parents[1] / "params.yaml"


def param(key):
    """Return a parameter, whichever section it is in."""
    value = re.search(rf"^ +{key}: (.*)$", PARAMS.read_text(), re.MULTILINE)[1]
    return json.loads(value)


def write(path, content):
    """Write text or bytes, and make the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content)


def png(shade):
    """Return a picture of two by two pixels of gray."""

    def chunk(kind, data):
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes([0, shade, shade, 0, shade, shade])))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")


def clean(table, out):
    rows = table.read_text().splitlines()
    kept = param("keep") + 1  # and the header
    write(out / "table.csv", "\n".join(rows[:kept]) + "\n")
    write(out / "dropped.csv", "\n".join(rows[kept:]) + "\n")


def fit(name, table, out):
    size = len(table.read_text().splitlines()) - 1
    rate = param("rate") / (2 if name == "lasso" else 1)
    losses = [size / (1 + rate * (epoch + 1)) for epoch in range(param("epochs"))]
    write(out / "weights.txt", f"{losses[-1]!r}\n")

    rows = [f"{epoch}\t{loss}\t{epoch / 4}\n" for epoch, loss in enumerate(losses)]
    write(out / "history.tsv", "epoch\tloss\tspeed\n" + "".join(rows))
    write(out / "roc.csv", "fpr,tpr\n0,0\n0.5,0.75\n1,1\n")

    train = {"rmse": losses[-1], "error": {"max": 2 * losses[-1], "where": [1, 2]}}
    metrics = {"train": train, "score": 1 / losses[-1], "note": "well", "converged": True}
    write(out / "fit.json", json.dumps(metrics))

    rows = [f"{step}\t{step * rate}\n" for step in range(3)]
    write(out / "logs/depth.tsv", "step\tdepth\n" + "".join(rows))
    rows = []
    for epoch, loss in enumerate(losses):
        rows.append({"epoch": 10 * epoch, "gap": loss, "width": None if epoch else 1})
    write(out / "gap.json", json.dumps({"rows": rows}))
    for step in (0, 50, 100):
        write(out / f"frames/{step}.png", png(step))


def score(weights, fold, out):
    value = float(weights.read_text()) + int(fold)
    write(out, json.dumps({"test": {"rmse": value, "size": 20}}))


def confuse(out):
    write(out / "confusion.csv", "actual,predicted\n0,1\n1,1\n0,0\n")


def draw(folder, out):
    write(out / "scores.png", png(param("shade") + len(list(folder.iterdir()))))


def report(metrics, out):
    write(out, json.dumps({"best": json.loads(metrics.read_text())["train"]["rmse"]}))


STAGES = {stage.__name__: stage for stage in (clean, fit, score, confuse, draw, report)}

if __name__ == "__main__":
    stage, *arguments = sys.argv[1:]
    STAGES[stage](*(Path(word) if "/" in word else word for word in arguments))
