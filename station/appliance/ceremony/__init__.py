"""The key ceremony: two machines, two people, files between them; each step may be repeated, nothing is overwritten."""
