"""Reading and fetching files: caches, decoding, downloads, pickles without execution."""
