"""One process: training runs, evaluation, what they write and show."""
