"""Routes for clients of earlier Taskers: the founding documents' and the Rust core's."""
