"""Files on any fsspec filesystem: collected in a staging area, composed, and committed by a manifest."""
