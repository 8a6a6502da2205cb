"""Whether an agent plays fair and sound: checks for anybody's agent, run by ``gridpilot check`` and at the start of tournaments."""
