"""Ways from a face to its code. Each is a class in a module here, and a line of INVERTERS in refacer/options.py."""
