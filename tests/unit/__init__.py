"""Each part alone: the folders mirror `gateway`, path for path; no test here needs a server."""
