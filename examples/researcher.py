"""Compares a bidder of one's own with the house's. Run it as it is: python examples/researcher.py [EPISODES [TICKS]]."""

import sys

import numpy as np

import gridpilot
from gridpilot import Agent, Bid, Observation


class Evening(Agent):
    """Values a stored kWh at what the evening will pay, and after the evening at what energy usually costs."""

    def __init__(self, evening: float = 0.08) -> None:
        self.evening = evening  # $/kWh

    def bid(self, observation: Observation) -> Bid:
        """The truth of this tick, with the charge at its value later."""
        usual = float(np.median(observation.history[-288:, 0]))
        return observation.truthful_bid(storage_value=self.evening if observation.hour < 21.5 else usual)


def main(episodes: int, ticks: int) -> None:
    """Play, and print who earned what and how sure the differences are."""
    result = gridpilot.run_tournament(["truthful", "threshold", Evening], episodes=episodes, ticks=ticks)
    print(result.leaderboard.to_string())
    print(result.pairs.to_string())


if __name__ == "__main__":
    sizes = [int(argument) for argument in sys.argv[1:]]
    main(*sizes, *(20, 288)[len(sizes) :])
