"""Measuring speed: what ``gridpilot benchmark`` runs. CPU seconds of one thread, and ratios against something in the same run."""
