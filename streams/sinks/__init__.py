"""Where blocks go to."""
