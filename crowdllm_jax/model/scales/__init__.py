"""How each kind of answer is given: its log probability and its draw side by side."""
