"""Records derived from the journal with sqlite-utils: they can be deleted and built again at any time."""
