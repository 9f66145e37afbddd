"""An application for the earlier Python package."""
