"""What a seat could have earned had it known the day: hindsight optima, replays against frozen bids, and the regret between them."""
