"""``gridpilot policy``: policies from elsewhere as folders that the agent ``learned`` plays."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final, get_args

from gridpilot.errors import ConfigError, PolicyError
from gridpilot.files import check_output
from gridpilot.market.clearing import Mechanism
from gridpilot.policies.folder import save_policy
from gridpilot.policies.policy import BIDDINGS

__all__ = ["main"]

DESCRIPTION: Final = """\
Write a policy of another library to a folder of plain data.

FILE is the zip that stable-baselines3's save() writes, of a PPO, A2C, SAC, TD3 or TQC with an MlpPolicy, or an .onnx file of any other
library (docs/other-libraries.md): layers with tanh or ReLU between them, from observations to actions of version 2, as make_vec_env and
make_vector_env have them. Nothing in it is run: tensors are read, and of ONNX compared with what the model answers, to 1e-6. What it
earns is for you to measure:

  gridpilot policy import model.zip --out my_policy
  gridpilot tournament 'agents=[mpc,{name: learned, policy: my_policy}]'"""


def main(argv: Sequence[str]) -> int:
    """Run the command. Raises :class:`~gridpilot.errors.PolicyError` for a file that is no such policy."""
    parser = argparse.ArgumentParser(
        "gridpilot policy", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=["import"], metavar="import", help="the only thing to do so far")
    parser.add_argument("file", metavar="FILE", help="zip of stable-baselines3, or .onnx of any library")
    parser.add_argument("--out", metavar="FOLDER", required=True, help="where to write the policy")
    parser.add_argument(
        "--hold", type=int, default=6, metavar="TICKS", help="ticks a decision was held for in training (default: 6)"
    )
    parser.add_argument("--mechanism", choices=get_args(Mechanism), default="vcg", help="that it was trained for (default: vcg)")
    parser.add_argument("--bidding", choices=BIDDINGS, help="rule that made bids of its values in training (default: none)")
    options = parser.parse_args(argv)
    if options.hold < 1:
        raise ConfigError(f"policy: --hold is {options.hold}, expected at least 1 tick")
    file, out = Path(options.file), Path(options.out)
    check_output(out, PolicyError, folder=True)
    if file.suffix.lower() == ".onnx":
        from gridpilot.training.onnx_import import import_onnx as import_policy
    else:
        from gridpilot.training.sb3_import import import_policy
    policy = import_policy(file, hold=options.hold, mechanism=options.mechanism)
    if options.bidding is not None:
        policy = dataclasses.replace(policy, layout=dataclasses.replace(policy.layout, bidding=options.bidding))
    sizes = " - ".join(map(str, policy.layout.sizes))
    card = (
        f"# Policy\n\nPlays `{{name: learned, policy: FOLDER}}`: a network {sizes} ({policy.layout.activation}), which decides every "
        f"{policy.layout.hold} ticks. Imported from `{file.name}`, SHA-256 {policy.training['imported']['sha256']}. Not measured.\n"
    )
    save_policy(policy, out, card)
    print(f"policy  {out}  {sizes}\nnext    gridpilot tournament 'agents=[mpc,{{name: learned, policy: {out}}}]'")
    return 0
