"""Steps one market and many, and lets random search find a better action than none. Run it: python examples/rl_engineer.py [MARKETS]."""

import sys

import gymnasium
import numpy as np

MARKET = "gridpilot.envs:GridPilot/Market-v0"


def main(markets: int) -> None:
    """The truthful bid in one market, then constant actions in many."""
    env = gymnasium.make(MARKET, seat=8, opponents=["truthful", "threshold"], ticks=48)
    env.reset(seed=0)
    zero, total, over = np.zeros(env.action_space.shape, np.float32), 0.0, False
    while not over:
        _, reward, terminated, truncated, _ = env.step(zero)
        total, over = total + float(reward), terminated or truncated
    print(f"one market, the truthful bid in every tick: reward {total:.2f}")

    many = gymnasium.make_vec(MARKET, num_envs=markets, vectorization_mode="vector_entry_point", seat=8, ticks=48)
    for storage_value in (-0.5, 0.0, 0.5):
        many.reset(seed=0)
        actions = np.zeros(many.action_space.shape, np.float32)
        actions[:, 0] = storage_value  # what a stored kWh is worth, above or below the usual price
        totals = np.zeros(markets)
        for _ in range(48):
            _, rewards, *_ = many.step(actions)
            totals += rewards
        print(f"{markets} markets, storage value {storage_value:+.1f}: mean reward {totals.mean():.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 64)
