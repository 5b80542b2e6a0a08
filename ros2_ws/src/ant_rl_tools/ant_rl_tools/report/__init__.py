"""One HTML page with the story of a recorded run, or of several side by side.

`reading.py` makes arrays of a bag, `charts.py` and `figures.py` make charts of arrays, `tables.py` makes the figures in
words, `page.py` puts them together, `command.py` is `./run report`.
"""
