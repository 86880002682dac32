"""From measurements to models: rate curves, slowdowns in company, memory, calibrated bounds."""
