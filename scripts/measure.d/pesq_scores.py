"""Adds PESQ scores (ITU-T P.862, P.862.2) to the `speech` figures of a file of JSON lines. Needs ffmpeg, numpy, pesq."""

import json
import subprocess
import sys

import numpy
from pesq import pesq


def pcm(path, rate):
    raw = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", path, "-f", "s16le", "-ac", "1", "-ar", str(rate), "-"],
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    return numpy.frombuffer(raw, dtype="<i2")


def main():
    path = sys.argv[1]
    with open(path) as file:
        figures = [json.loads(line) for line in file]
    for figure in figures:
        if figure["figure"] != "speech" or "pesq" in figure:
            continue
        rate = 16000 if figure["mode"] == "wb" else 8000
        reference, degraded = pcm(figure["reference"], rate), pcm(figure["degraded"], rate)
        figure["pesq"] = round(float(pesq(rate, reference, degraded, figure["mode"])), 3)
    with open(path, "w") as file:
        file.writelines(json.dumps(figure) + "\n" for figure in figures)


main()
