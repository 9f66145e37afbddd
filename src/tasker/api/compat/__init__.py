"""Routes for clients of earlier designs of Tasker: those of the Rust core, and the legacy ones."""
