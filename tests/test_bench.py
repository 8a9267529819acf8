"""The benchmarks run from end to end, with little work."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
@pytest.mark.bench
def test_quick_benchmark_writes_table_and_chart(tmp_path):
    command = [sys.executable, ROOT / "benchmarks" / "bench.py", "--quick", "--output", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "results.md").read_text()
    for row in (
        "this project",
        "case study's loop",
        "fastest BLAS form",
        "cold `dvc repro`",
        "train@mlp",
    ):
        assert f"\n| {row} | " in text
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")
