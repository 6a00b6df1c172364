"""Weight files: where they are, what they hold, under which licence; read without running code."""
