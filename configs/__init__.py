"""Settings, menus and sample data that are installed with the package."""
