"""Routes of the earlier Taskers: those of the founding documents, and the Rust core's."""
