#!/usr/bin/env python3
"""Reads a folder of event files as TensorBoard does, and prints what it shows.

  check_event_file.py FOLDER           what each of TensorBoard's readers finds there
  check_event_file.py --test PROGRAM   runs PROGRAM (test_event_file) and checks what it wrote; exits with 1 if that is not found

The readers are EventAccumulator (for scripts), TensorBoard's own in Python (--load_fast=false), and the data server that it starts
where it can. Needs tensorboard; checked with 2.21.0 and its data server 0.7.2.
"""
import argparse
import os
import subprocess
import sys
import tempfile

from tensorboard import context
from tensorboard.backend.event_processing import data_provider, event_accumulator, plugin_event_multiplexer
from tensorboard.data import server_ingester
from tensorboard.util import grpc_util

NO_LIMIT = 1000000


def read_with_event_accumulator(folder):
    """Scalars and images; this reader keeps texts of purged steps, so they are not looked at."""
    events = event_accumulator.EventAccumulator(folder, event_accumulator.STORE_EVERYTHING_SIZE_GUIDANCE).Reload()
    tags = events.Tags()
    return {
        "scalars": {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in tags["scalars"]},
        "images": {tag: [(e.step, (e.width, e.height, e.encoded_image_string)) for e in events.Images(tag)]
                   for tag in tags["images"]},
    }


def read_from_provider(provider):
    """What the dashboards ask for: the folder's values by kind and tag."""
    request = {"ctx": context.RequestContext(), "experiment_id": ""}

    def series(read, plugin, convert):
        runs = read(**request, plugin_name=plugin, downsample=NO_LIMIT)
        assert set(runs) <= {"."}, f"runs {sorted(runs)}"
        return {tag: [(datum.step, convert(datum)) for datum in values] for tag, values in runs.get(".", {}).items()}

    def image(datum):
        width, height, png = [provider.read_blob(ctx=request["ctx"], blob_key=value.blob_key) for value in datum.values]
        return int(width), int(height), png

    return {
        "scalars": series(provider.read_scalars, "scalars", lambda datum: datum.value),
        "images": series(provider.read_blob_sequences, "images", image),
        "texts": series(provider.read_tensors, "text", lambda datum: datum.numpy.item().decode()),
    }


def read_with_python(folder):
    events = plugin_event_multiplexer.EventMultiplexer({".": folder}, event_accumulator.STORE_EVERYTHING_SIZE_GUIDANCE)
    return read_from_provider(data_provider.MultiplexerDataProvider(events.Reload(), folder))


def read_with_data_server(folder):
    samples = {plugin: 0 for plugin in ("scalars", "images", "text")}  # 0: all
    server = server_ingester.SubprocessServerDataIngester(
        server_ingester.get_server_binary(), folder, reload_interval=0, samples_per_plugin=samples,
        channel_creds_type=grpc_util.ChannelCredsType.LOCAL)
    server.start()  # it ends with our process
    return read_from_provider(server.data_provider)


READERS = {
    "EventAccumulator": read_with_event_accumulator,
    "TensorBoard in Python": read_with_python,
    "TensorBoard's data server": read_with_data_server,
}


def show(found):
    for kind, tags in found.items():
        for tag, values in sorted(tags.items()):
            print(f"  {kind[:-1]} {tag!r}")
            for step, value in values:
                if kind == "images":
                    width, height, png = value
                    print(f"    step {step}: {width} x {height}, {len(png)} bytes from {png[:8]}")
                else:
                    print(f"    step {step}: {value!r}")


def check(found):
    """Whether it is what test_event_file writes: steps 0 to 5 of a run that was killed, whose steps 3 and 4 were done anew."""
    steps = range(5)
    scalars, images, texts = found["scalars"], found["images"], found.get("texts")
    assert set(scalars) == {"train/loss", "not finite"}, f"scalars {sorted(scalars)}"
    assert scalars["train/loss"] == [(step, step if step < 3 else 10.0 * step) for step in steps], scalars["train/loss"]
    assert str(scalars["not finite"]) == "[(0, nan), (1, -inf)]", scalars["not finite"]
    assert set(images) == {"samples/attention"}, f"images {sorted(images)}"
    assert [step for step, _ in images["samples/attention"]] == list(steps), images["samples/attention"]
    for _, (width, height, png) in images["samples/attention"]:
        assert (width, height) == (3, 2) and png.startswith(b"\x89PNG") and png.endswith(b"IEND\xaeB`\x82"), png
    if texts is not None:
        expected = [(step, f"**step {step}** of a run \N{CAT}") for step in steps]
        assert texts == {"samples/answer": expected}, texts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("folder", nargs="?")
    group.add_argument("--test", metavar="PROGRAM")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or temporary
        if arguments.test:
            subprocess.run([arguments.test], env=dict(os.environ, DIFFLMM_EVENT_FOLDER=folder), check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        is_right = True
        for name, read in READERS.items():
            print(name)
            found = read(folder)
            show(found)
            if arguments.test:
                try:
                    check(found)
                except AssertionError as error:
                    print(f"  WRONG: {error}")
                    is_right = False
        return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
