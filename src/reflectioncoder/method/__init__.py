"""The paper's method: what is hidden, what teacher and student see, and the plan of a whole run. No torch."""
