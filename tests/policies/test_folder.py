"""Folders of policies: written, read back, and refused where they are not what was written."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from gridpilot.errors import PolicyError
from gridpilot.policies import load_policy, save_policy
from gridpilot.policies.folder import find_policy, shipped

from .made_up import made_up

WEIGHTS, DESCRIPTION = "policy.safetensors", "policy.json"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_policy(made_up(), tmp_path_factory.mktemp("policies") / "good", "# Policy\n")


def test_what_was_saved_is_loaded(saved: Path) -> None:
    policy, again = made_up(), load_policy(saved)
    assert again.layout == policy.layout
    assert again.training == policy.training
    assert {name: array.tobytes() for name, array in again.arrays.items()} == {n: a.tobytes() for n, a in policy.arrays.items()}
    assert sorted(path.name for path in saved.iterdir()) == ["CARD.md", DESCRIPTION, WEIGHTS]


def test_equal_policies_are_equal_files(saved: Path, tmp_path: Path) -> None:
    other = save_policy(made_up(), tmp_path / "again", "another card")
    assert [(other / name).read_bytes() for name in (WEIGHTS, DESCRIPTION)] == [
        (saved / n).read_bytes() for n in (WEIGHTS, DESCRIPTION)
    ]


def test_the_policies_of_the_library_load() -> None:
    assert "library:vcg" in shipped()
    for name in shipped():
        assert load_policy(name).training["command"].startswith("gridpilot train")
        assert (find_policy(name) / "CARD.md").read_text(encoding="utf-8").startswith("# Policy")


def described(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        data = json.loads((folder / DESCRIPTION).read_text())
        data.update(changes)
        (folder / DESCRIPTION).write_text(json.dumps({key: value for key, value in data.items() if value is not ...}))

    return change


def weights(content: Callable[[bytes], bytes], *, sealed: bool = False) -> Callable[[Path], None]:
    """Other bytes in the place of the weights; ``sealed``: and the description states their digest."""

    def change(folder: Path) -> None:
        new = content((folder / WEIGHTS).read_bytes())
        (folder / WEIGHTS).write_bytes(new)
        if sealed:
            described(sha256=hashlib.sha256(new).hexdigest())(folder)

    return change


def arrays(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Other arrays, whose digest the description states."""

    def content(data: bytes) -> bytes:
        found = {name: array.copy() for name, array in safetensors.numpy.load(data).items()}
        change(found)
        return safetensors.numpy.save(found)

    return weights(content, sealed=True)


def flipped(data: bytes) -> bytes:
    return data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]


def zipped(data: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", data)
    return stream.getvalue()


def linked_to_nothing(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    os.symlink("/nowhere/at/all", folder / WEIGHTS)


def a_folder(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return change


def a_pipe(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    os.mkfifo(folder / WEIGHTS)


def nan(found: dict[str, Any]) -> None:
    found["layers.1.weight"][2, 3] = np.nan


def inf(found: dict[str, Any]) -> None:
    found["mean"][0] = np.inf


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (lambda folder: shutil.rmtree(folder), "does not exist"),
    "no description": (lambda folder: (folder / DESCRIPTION).unlink(), "policy.json is missing"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "policy.safetensors is missing"),
    "weights renamed": (lambda folder: (folder / WEIGHTS).rename(folder / "model.safetensors"), "policy.safetensors is missing"),
    "a link to nothing": (linked_to_nothing, "policy.safetensors is missing"),
    "weights a folder": (a_folder(WEIGHTS), "cannot be read: Is a directory"),
    "description a folder": (a_folder(DESCRIPTION), "cannot be read: Is a directory"),
    "weights a pipe": (a_pipe, "is no regular file"),
    "empty weights": (weights(lambda data: b""), "SHA-256"),
    "cut": (weights(lambda data: data[:-40]), "SHA-256"),
    "cut and sealed": (weights(lambda data: data[:-40], sealed=True), "no safetensors file"),
    "extra bytes": (weights(lambda data: data + b"0" * 8), "SHA-256"),
    "extra bytes, sealed": (weights(lambda data: data + b"0" * 8, sealed=True), "no safetensors file"),
    "a flipped bit": (weights(flipped), "SHA-256"),
    "a pickle": (weights(lambda data: pickle.dumps({"a": data}), sealed=True), "is a pickle, expected a safetensors file"),
    "a zip": (weights(zipped, sealed=True), "is a zip archive"),
    "an old pickle": (weights(lambda data: pickle.dumps([1], protocol=0), sealed=True), "no safetensors file"),
    "a numpy file": (weights(lambda data: b"\x93NUMPY" + data, sealed=True), "is a numpy file"),
    "a huge header": (weights(lambda data: struct.pack("<Q", 1 << 60) + data[8:], sealed=True), "no safetensors file"),
    "a header of nonsense": (weights(lambda data: struct.pack("<Q", 9) + b"{not json" + data, sealed=True), "no safetensors file"),
    "nan": (arrays(nan), "'layers.1.weight' holds nan, expected finite numbers"),
    "inf": (arrays(inf), "'mean' holds inf"),
    "std of 0": (arrays(lambda found: found["std"].fill(0.0)), "std holds 0.0, expected numbers above 0"),
    "another shape": (arrays(lambda found: found.update({"mean": np.zeros(54, np.float32)})), "'mean' is float32 of shape (54,)"),
    "double precision": (arrays(lambda found: found.update({"mean": np.zeros(55)})), "'mean' is float64 of shape (55,)"),
    "an array too few": (arrays(lambda found: found.pop("layers.0.bias")), "array 'layers.0.bias' is missing"),
    "an array too many": (arrays(lambda found: found.update({"hook": np.zeros(1, np.float32)})), "there is an array 'hook'"),
    "not JSON": (lambda folder: (folder / DESCRIPTION).write_text("{'format': 1}"), "is not JSON"),
    "not UTF-8": (lambda folder: (folder / DESCRIPTION).write_bytes(b"\xff\xfe{"), "is not JSON"),
    "a list": (lambda folder: (folder / DESCRIPTION).write_text("[1]"), "has format None, expected 1"),
    "deep nesting": (lambda folder: (folder / DESCRIPTION).write_text("[" * 100_000), "policy.json"),
    "a description of a gigabyte": (lambda folder: os.truncate(folder / DESCRIPTION, 1 << 30), "more than 1,048,576 bytes"),
    "another format": (described(format=2), "has format 2, expected 1"),
    "another observation": (described(observation_version=2), "observation version is 2, expected 1"),
    "another action": (described(action_version=1), "action version is 1, expected 2"),
    "another activation": (described(activation="__import__"), "activation is '__import__', expected one of tanh, relu"),
    "another bidding rule": (described(bidding="nash"), "bidding is 'nash', expected null or one of best_response"),
    "a rule and shading factors": (described(bidding="best_response", sizes=[55, 16, 8, 4]), "2 shading factors, expected none"),
    "a rule of another type": (described(bidding=["best_response"]), "bidding="),
    "other layers": (described(sizes=[55, 16, 9, 2]), "expected float32 of shape (9,)"),
    "huge layers": (described(sizes=[55, 10**12, 2]), "layers of 1 to 4096 units"),
    "another size": (described(classes=4), "takes 55 entries, expected 61"),
    "an unknown key": (described(code="print()"), "unknown key 'code'"),
    "a key too few": (described(clip=...), "key 'clip' is missing"),
    "no digest": (described(sha256=""), "sha256"),
    "another type": (described(hold="often"), "hold='often'"),
    "signs that steer a terminal": (described(training={"command": "\x1b[2J"}), "steer a terminal"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_hostile_or_damaged_is_refused_in_one_line(what: str, saved: Path, tmp_path: Path) -> None:
    change, told = HOSTILE[what]
    folder = tmp_path / "policy"
    shutil.copytree(saved, folder)
    change(folder)
    with pytest.raises(PolicyError) as caught:
        load_policy(folder)
    message = str(caught.value)
    assert told in message
    assert "\n" not in message
    assert len(message) < 500


def test_a_folder_here_never_stands_for_one_of_the_library(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(saved, "vcg")
    assert load_policy("vcg").training == {"command": "made up"}
    assert load_policy("library:vcg").training != {"command": "made up"}
    with pytest.raises(
        PolicyError,
        match="'library:none' does not exist, expected a folder that gridpilot train wrote, or library:pay_as_bid, library:vcg",
    ):
        load_policy("library:none")


@pytest.mark.parametrize("name", ["", None, 7])
def test_what_names_no_folder_is_refused(name: Any) -> None:
    with pytest.raises(PolicyError, match="expected a folder that gridpilot train wrote, or library:pay_as_bid, library:vcg"):
        load_policy(name)


def test_where_nothing_can_be_written_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PolicyError, match="it is a file, expected a folder"):
        save_policy(made_up(), tmp_path / "file", "")
