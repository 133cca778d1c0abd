"""Views <-> surface <-> UV: which view sees what, bringing views together, and baking them into a texture."""
