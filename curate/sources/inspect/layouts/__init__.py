"""One file a layout, each with `sniff(looked) -> Iterator[Candidate]`; a new file here is found by itself."""
