"""One file a consumer. Each declares `EXPORTERS`."""
