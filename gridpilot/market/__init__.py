"""The market core: bids, auctions, sites, settlement. Imports nothing else of the project."""
