"""Storage rules: what a stored kWh and a running machine are worth to a site. A bidding rule turns that into bids."""

from gridpilot.agents.storage.base import StorageRule, Worth, build_storage_rule

__all__ = ["StorageRule", "Worth", "build_storage_rule"]
