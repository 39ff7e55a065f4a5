"""A virtual Earlgrey: fuses, flash, life cycle, consoles and behavioural firmware behind its pads."""
