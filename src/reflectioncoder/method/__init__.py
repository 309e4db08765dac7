"""The paper's method: masks, teacher and student views, packing, and the plan of a whole run. No torch."""
