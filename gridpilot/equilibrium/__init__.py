"""Best responses, equilibria and ratings: what a bidder could have gained, and where play settles."""
