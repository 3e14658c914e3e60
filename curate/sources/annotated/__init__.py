"""Annotated 4D: recordings whose objects are given as cuboids with headings, names and ids, in a world with poses."""
