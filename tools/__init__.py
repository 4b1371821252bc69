"""Scripts that set up and keep up the checkout; no part of the installed package."""
