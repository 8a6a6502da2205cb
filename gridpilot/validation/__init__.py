"""Known results of auction theory, found again with this project's own auctioneer."""
