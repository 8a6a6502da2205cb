"""The bidders, one file each, and how they are found, built and seated."""
