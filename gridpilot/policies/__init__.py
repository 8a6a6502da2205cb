"""Learned policies as folders of plain data: saved, checked, loaded, and asked for actions, without any framework of learning."""

from __future__ import annotations

from gridpilot.policies.folder import load_policy, save_policy
from gridpilot.policies.policy import Layout, Policy

__all__ = ["Layout", "Policy", "load_policy", "save_policy"]
