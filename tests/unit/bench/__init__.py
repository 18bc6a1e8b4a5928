"""What the load tools reckon: schedules, mixes, logs, reports."""
