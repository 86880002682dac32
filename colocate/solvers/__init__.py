"""One solver a file, behind one interface; see `base` for what each must say."""
