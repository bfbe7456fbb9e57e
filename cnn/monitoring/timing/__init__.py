"""Where a run's time goes: its activities, its goodput, the parts of a step, and what limits its speed."""
